"""The run's DuckDB file: schema and migrations, one short-lived writer, readers that work while a run is going on."""
