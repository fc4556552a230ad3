"""Processors of the `shared` family."""
