"""What looks closer at labels that search has found: one file a reranker, by name in `registry`."""
