"""Scorers and judges: how far a label describes contexts that the explainer never saw."""
