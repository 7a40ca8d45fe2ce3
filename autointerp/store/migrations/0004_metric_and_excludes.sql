-- What a score measures, and what a label excludes, were keys in a JSON detail. They are taken out of its text as it
-- stands, so that a store written before equals one written now.

ALTER TABLE scores ADD COLUMN metric VARCHAR NOT NULL DEFAULT '';
UPDATE scores SET
    metric = detail ->> '$.metric',
    detail = regexp_replace(detail, '"metric": "(?:[^"\\]|\\.)*", |(?:, )?"metric": "(?:[^"\\]|\\.)*"', '')
WHERE json_type(detail, '$.metric') = 'VARCHAR';

ALTER TABLE explanations ADD COLUMN excludes VARCHAR; -- what the label's own text rules out; NULL where nothing
UPDATE explanations SET
    excludes = detail ->> '$.excludes',
    detail = regexp_replace(detail, '"excludes": "(?:[^"\\]|\\.)*", |(?:, )?"excludes": "(?:[^"\\]|\\.)*"', '')
WHERE json_type(detail, '$.excludes') = 'VARCHAR';
