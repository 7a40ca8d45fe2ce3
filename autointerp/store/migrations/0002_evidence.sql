-- What follows a feature's peaks, from a sample, and what it promotes, from the weights. Features collected before have
-- neither; their lists are empty.

ALTER TABLE features ADD COLUMN following_tokens
    STRUCT(token VARCHAR, n_peaks BIGINT, lift DOUBLE)[] NOT NULL DEFAULT [];
ALTER TABLE features ADD COLUMN n_sampled_peaks BIGINT NOT NULL DEFAULT 0;
ALTER TABLE features ADD COLUMN n_followed_peaks BIGINT NOT NULL DEFAULT 0;
ALTER TABLE features ADD COLUMN top_logits STRUCT(token VARCHAR, logit DOUBLE)[] NOT NULL DEFAULT [];
ALTER TABLE features ADD COLUMN bottom_logits STRUCT(token VARCHAR, logit DOUBLE)[] NOT NULL DEFAULT [];

-- The most by which the count of a top token can be too low. Counts of features collected before are exact.
ALTER TABLE features ADD COLUMN top_tokens_n_missed BIGINT NOT NULL DEFAULT 0;

-- Why none of the source's features has logits; NULL where they have.
ALTER TABLE sources ADD COLUMN no_logits VARCHAR;
