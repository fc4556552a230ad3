"""BigQuery on a laptop: REST v2 for Google's unmodified clients, on DuckDB and sqlglot."""
