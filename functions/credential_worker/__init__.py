"""Stores the credentials of queued requests."""
