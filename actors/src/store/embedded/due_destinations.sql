-- The hosts that have a delivery to take, the longest due first. A range of destination_free.
SELECT host FROM destination INDEXED BY destination_free WHERE free_at <= ?1 ORDER BY free_at, host LIMIT ?2
