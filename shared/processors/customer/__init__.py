"""Processors of the `customer` family."""
