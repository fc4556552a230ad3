"""Tenants: names, profiles, plans, keys and what belongs to whom."""
