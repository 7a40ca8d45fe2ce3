"""Runs that a server answers for: the same client, over HTTP."""
