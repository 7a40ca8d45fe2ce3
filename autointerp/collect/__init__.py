"""The streaming pass: exact statistics and samples of every feature, from text to nothing but what is kept."""
