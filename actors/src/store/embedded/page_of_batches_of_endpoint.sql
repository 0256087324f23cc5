-- A page of an endpoint's batches, newest first. Walks down batch_of_endpoint.
SELECT * FROM batch INDEXED BY batch_of_endpoint WHERE endpoint = ?3 AND id < ?1 ORDER BY id DESC LIMIT ?2
