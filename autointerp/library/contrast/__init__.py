"""Which features tell two sets of texts apart."""
