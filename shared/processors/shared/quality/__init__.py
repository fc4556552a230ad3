"""Data quality rules: what they say, the few queries that measure them, and the verdicts."""
