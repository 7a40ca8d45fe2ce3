"""Planted features with labels of known worth: what to try scorers and judges on."""
