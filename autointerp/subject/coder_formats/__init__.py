"""Coders in the files of several libraries."""
