"""Features with their labels and scores, a row a label, made by DuckDB in bulk: what exports are written from."""
