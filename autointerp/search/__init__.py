"""Finding features: label embeddings, search by meaning and words, reranking, neighbors."""
