-- Sets an endpoint. Served by the primary key.
INSERT INTO control (endpoint, paused, concurrency) VALUES (?1, ?2, ?3)
ON CONFLICT (endpoint) DO UPDATE SET paused = excluded.paused, concurrency = excluded.concurrency
