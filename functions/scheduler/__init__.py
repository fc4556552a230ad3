"""What Cloud Scheduler calls, and operators by hand; backfills."""
