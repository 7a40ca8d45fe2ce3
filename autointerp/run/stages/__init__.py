"""One file a stage: what it reads, what it writes, and how it goes on from an earlier run."""
