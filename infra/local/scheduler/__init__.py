"""The local Cloud Scheduler: runs the topology's cron jobs for real."""
