-- The public tables of DESIGN.md "Store", with what resuming and provenance need besides.
-- Result tables carry no UNIQUE constraint: the writer's anti-joins keep them free of duplicates, and an index on
-- 10^8 identifiers would cost more room and time than the rows. Timestamps are UTC.

CREATE TABLE run (
    name VARCHAR NOT NULL,
    pipeline JSON NOT NULL,
    program_version VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL
);

-- One row a stage: the fingerprint that its current results carry. `score:NAME` stands for each scorer.
CREATE TABLE stages (
    stage VARCHAR PRIMARY KEY,
    fingerprint VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    n_asked BIGINT,
    cost_usd DOUBLE,
    summary JSON NOT NULL,
    finished_at TIMESTAMP
);

CREATE TABLE sources (
    source_id VARCHAR PRIMARY KEY,
    model VARCHAR NOT NULL,
    hook VARCHAR NOT NULL,
    coder VARCHAR NOT NULL,
    n_features INTEGER NOT NULL,
    corpus VARCHAR NOT NULL,
    n_tokens BIGINT NOT NULL,
    histogram_edges DOUBLE[] NOT NULL
);

CREATE TABLE features (
    source_id VARCHAR NOT NULL,
    feature_index INTEGER NOT NULL,
    n_active BIGINT NOT NULL,
    density DOUBLE NOT NULL,
    max_activation DOUBLE NOT NULL,
    mean_activation DOUBLE NOT NULL,
    histogram BIGINT[] NOT NULL,
    status VARCHAR NOT NULL,
    top_tokens STRUCT(token VARCHAR, n_active BIGINT, mean_activation DOUBLE)[] NOT NULL
);

CREATE TABLE contexts (
    context_id VARCHAR NOT NULL,
    source_id VARCHAR NOT NULL,
    feature_index INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    split VARCHAR NOT NULL,
    tokens VARCHAR[] NOT NULL,
    token_ids INTEGER[] NOT NULL,
    activations FLOAT[] NOT NULL,
    max_activation FLOAT NOT NULL,
    peak INTEGER NOT NULL,
    quantile INTEGER,
    document_id VARCHAR NOT NULL,
    block_index BIGINT NOT NULL,
    start INTEGER NOT NULL,
    place INTEGER, -- order in which the stage gave the feature's contexts; NULL for those that a scorer drew
    fingerprint VARCHAR NOT NULL
);

CREATE TABLE explanations (
    explanation_id VARCHAR NOT NULL,
    source_id VARCHAR NOT NULL,
    feature_index INTEGER NOT NULL,
    label VARCHAR NOT NULL,
    explainer VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    prompt_sha256 VARCHAR,
    cost_usd DOUBLE,
    created_at TIMESTAMP NOT NULL,
    fingerprint VARCHAR NOT NULL,
    label_from INTEGER -- the feature that a baseline's label was taken from
);

CREATE TABLE trials (
    explanation_id VARCHAR NOT NULL,
    scorer VARCHAR NOT NULL,
    judge VARCHAR NOT NULL,
    context_id VARCHAR NOT NULL,
    truth BOOLEAN NOT NULL,
    verdict BOOLEAN,
    probability DOUBLE,
    marked INTEGER[] NOT NULL,
    weight DOUBLE NOT NULL,
    unanswered VARCHAR,
    source_id VARCHAR NOT NULL,
    feature_index INTEGER NOT NULL,
    place INTEGER NOT NULL, -- order in which the scorer put them
    fingerprint VARCHAR NOT NULL
);

CREATE TABLE scores (
    explanation_id VARCHAR NOT NULL,
    scorer VARCHAR NOT NULL,
    judge VARCHAR NOT NULL,
    value DOUBLE NOT NULL,
    ci_low DOUBLE NOT NULL,
    ci_high DOUBLE NOT NULL,
    n_trials INTEGER NOT NULL,
    n_unanswered INTEGER NOT NULL,
    detail JSON NOT NULL,
    source_id VARCHAR NOT NULL,
    feature_index INTEGER NOT NULL,
    fingerprint VARCHAR NOT NULL
);

CREATE TABLE failures (
    stage VARCHAR NOT NULL,
    source_id VARCHAR NOT NULL,
    feature_index INTEGER NOT NULL,
    error_type VARCHAR NOT NULL,
    message VARCHAR NOT NULL,
    raw VARCHAR,
    created_at TIMESTAMP NOT NULL,
    retry BOOLEAN NOT NULL,
    fingerprint VARCHAR NOT NULL,
    explanation_id VARCHAR
);

CREATE TABLE label_embeddings (
    explanation_id VARCHAR NOT NULL,
    embedder VARCHAR NOT NULL,
    embedding FLOAT[] NOT NULL,
    source_id VARCHAR NOT NULL,
    feature_index INTEGER NOT NULL
);

CREATE TABLE neighbors (
    source_id VARCHAR NOT NULL,
    feature_index INTEGER NOT NULL,
    space VARCHAR NOT NULL,
    rank INTEGER NOT NULL,
    neighbor_index INTEGER NOT NULL,
    similarity DOUBLE NOT NULL
);

-- What counts now: rows with the fingerprint that `stages` names for their stage, and every row of a stage that
-- `stages` does not name. Rows of earlier settings stay in the tables.
CREATE VIEW current_contexts AS
    SELECT c.* FROM contexts c LEFT JOIN stages s ON s.stage = 'contexts'
    WHERE c.kind = 'pool' OR s.fingerprint IS NULL OR s.fingerprint = c.fingerprint;

CREATE VIEW current_explanations AS
    SELECT e.* FROM explanations e
    LEFT JOIN stages s ON s.stage = CASE WHEN e.label_from IS NULL THEN 'explain' ELSE 'baseline' END
    WHERE s.fingerprint IS NULL OR s.fingerprint = e.fingerprint;

CREATE VIEW current_scores AS
    SELECT g.* FROM scores g LEFT JOIN stages s ON s.stage = 'score:' || g.scorer
    WHERE s.fingerprint IS NULL OR s.fingerprint = g.fingerprint;

CREATE VIEW current_trials AS
    SELECT t.* FROM trials t LEFT JOIN stages s ON s.stage = 'score:' || t.scorer
    WHERE s.fingerprint IS NULL OR s.fingerprint = t.fingerprint;

CREATE VIEW current_failures AS
    SELECT f.* FROM failures f LEFT JOIN stages s ON s.stage = f.stage
    WHERE (s.fingerprint IS NULL OR s.fingerprint = f.fingerprint)
        AND (f.explanation_id IS NULL OR f.explanation_id IN (SELECT explanation_id FROM current_explanations));
