-- How often each listed token occurs among the counted tokens of the corpus; NULL where it was collected before.

ALTER TABLE features ADD COLUMN top_tokens.element.n_occurrences BIGINT;
