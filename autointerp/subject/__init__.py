"""The model and the sparse coder under study: loading, hook points, encoding."""
