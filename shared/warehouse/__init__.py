"""BigQuery as the product uses it: deterministic jobs, claims, appended rows, owned tables."""
