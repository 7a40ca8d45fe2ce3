"""From the explain split of a feature to a label: the explainers, and what they are made of."""
