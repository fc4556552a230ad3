"""Schedules: cron expressions in time zones, and the schedules of tenants."""
