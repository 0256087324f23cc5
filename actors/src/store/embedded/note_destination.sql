-- Notes when the first delivery to a host can be taken. One step into delivery_waiting.
INSERT INTO destination (host, free_at)
SELECT host, free_at FROM delivery INDEXED BY delivery_waiting
WHERE host = ?1 AND free_at IS NOT NULL ORDER BY free_at LIMIT 1
ON CONFLICT (host) DO UPDATE SET free_at = excluded.free_at
