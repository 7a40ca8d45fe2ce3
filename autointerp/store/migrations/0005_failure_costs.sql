-- What the calls that came to nothing cost: NULL where nobody knows, as for failures of before.

ALTER TABLE failures ADD COLUMN cost_usd DOUBLE;
