"""GoogleSQL on DuckDB: names, types, translation, statements, scripts."""
