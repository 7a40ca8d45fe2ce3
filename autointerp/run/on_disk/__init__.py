"""A run folder: its files, its lock, the manifest of its corpus, what of it was kept and what it has cost."""
