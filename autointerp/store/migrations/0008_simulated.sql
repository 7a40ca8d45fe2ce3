-- What the judge took a feature's activation at each token of a trial's context to be, from 0 to 10.

ALTER TABLE trials ADD COLUMN simulated FLOAT[]; -- NULL where it was not asked for
