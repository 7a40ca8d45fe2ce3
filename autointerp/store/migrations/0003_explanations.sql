-- What an explainer says of its label besides the text. Explanations made before say nothing of it.

ALTER TABLE explanations ADD COLUMN side VARCHAR; -- input or output; NULL where the explainer does not say
ALTER TABLE explanations ADD COLUMN n_contexts INTEGER; -- shown to the language model; NULL where none was asked
ALTER TABLE explanations ADD COLUMN detail JSON NOT NULL DEFAULT '{}';
