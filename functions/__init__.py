"""Deployable entry points: parse, call one function of `shared`, answer."""
