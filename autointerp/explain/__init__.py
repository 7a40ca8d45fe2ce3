"""Explainers: from the explain split of a feature to a label, one file each."""
