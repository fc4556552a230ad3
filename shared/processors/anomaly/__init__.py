"""Processors of the `anomaly` family: work inside BigQuery, run by the family `gcp`."""
