"""Processors of the `aws` family."""
