-- The hosts whose first delivery can be taken soonest. The beginning of destination_free.
SELECT host, free_at FROM destination INDEXED BY destination_free ORDER BY free_at, host LIMIT ?1
