"""Language models that are not asked: what a run would ask, counted before it is spent."""
