-- How an endpoint is set. Served by the primary key.
SELECT paused, concurrency FROM control WHERE endpoint = ?1
