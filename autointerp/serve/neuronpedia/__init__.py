"""Neuronpedia's API, as its client `neuronpedia` 1.2.1 and its pages ask it."""
