"""Scored explanations with their provenance, as files: JSON lines, CSV, Parquet."""
