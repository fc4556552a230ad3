"""Processors of the `azure` family."""
