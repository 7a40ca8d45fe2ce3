"""Labels that can be executed: predicates over words, written as sentences that can be read back."""
