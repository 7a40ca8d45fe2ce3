"""The subject answering now: activations of a text, edits, next tokens. Knows no store and no labels."""
