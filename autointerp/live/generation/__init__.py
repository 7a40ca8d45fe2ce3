"""Text from the live subject, under edits: requests in flight are generated in one batch."""
