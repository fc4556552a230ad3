"""Executes steps; deployed once per processor family."""
