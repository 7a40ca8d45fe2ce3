-- What strength 1 of steering is for a feature, found when it is first asked for; see `records.dose`.

CREATE TABLE doses (
    source_id VARCHAR NOT NULL,
    feature_index INTEGER NOT NULL,
    method VARCHAR NOT NULL,
    texts VARCHAR NOT NULL,
    unit DOUBLE,
    kl_p95 DOUBLE NOT NULL,
    of_max_activation DOUBLE,
    of_stream_norm DOUBLE NOT NULL,
    n_tokens INTEGER NOT NULL,
    why VARCHAR
);
