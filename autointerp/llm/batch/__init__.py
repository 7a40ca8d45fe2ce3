"""Calls by a provider's batch endpoint."""
