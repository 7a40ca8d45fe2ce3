"""Executors: the same shards in this process or on Ray workers, and calls of language models from Ray workers."""
