"""Ends what no attempt could process."""
