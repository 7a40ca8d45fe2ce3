"""Samples to contexts: windows, splits, negatives, and their rendering as text."""
