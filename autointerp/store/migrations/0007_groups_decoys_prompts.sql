-- Which documents belong together, where another feature fires in a context, and which questions were put together.

ALTER TABLE contexts ADD COLUMN group_id VARCHAR; -- NULL in stores written before: then the document is a group
UPDATE contexts SET group_id = document_id;
ALTER TABLE contexts ADD COLUMN decoy INTEGER[] DEFAULT [];
UPDATE contexts SET decoy = [];
ALTER TABLE trials ADD COLUMN prompt VARCHAR; -- NULL where no language model was asked
