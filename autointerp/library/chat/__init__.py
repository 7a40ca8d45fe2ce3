"""`client.chat`: answers from a run's own model, plain or as a variant of it."""
