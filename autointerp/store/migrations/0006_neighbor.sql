-- One spelling of a word: the kind `silent_neighbour` of contexts, also where a score's detail counts by kind.

UPDATE contexts SET kind = 'silent_neighbor' WHERE kind = 'silent_neighbour';
UPDATE scores SET detail = replace(detail::VARCHAR, '"silent_neighbour"', '"silent_neighbor"')
WHERE contains(detail::VARCHAR, '"silent_neighbour"');
