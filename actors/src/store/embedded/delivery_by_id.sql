-- A delivery. Served by the unique index on id.
SELECT id, about, state, host, url, body, traceparent, fence, begun_at, tries, log, next_at, free_at, orphan
FROM delivery WHERE id = ?1
