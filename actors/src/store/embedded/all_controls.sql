-- How every endpoint is set that ever was.
SELECT endpoint, paused, concurrency FROM control ORDER BY endpoint
