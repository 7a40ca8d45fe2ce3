"""Judges, one file each; `judge` says what one is."""
