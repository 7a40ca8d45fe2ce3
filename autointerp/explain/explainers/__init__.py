"""Explainers, one file each; `registry` lists them."""
