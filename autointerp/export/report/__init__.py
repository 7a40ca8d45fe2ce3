"""A report on runs: one self-contained HTML page with plots."""
