"""Scorers, one file each; `registry` lists them."""
