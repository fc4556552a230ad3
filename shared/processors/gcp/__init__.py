"""Processors of the `gcp` family."""
