-- The deliveries to a host that can be taken, the longest due first. A range of delivery_waiting.
SELECT id, about, state, host, url, body, traceparent, fence, begun_at, tries, log, next_at, free_at, orphan
FROM delivery INDEXED BY delivery_waiting
WHERE host = ?1 AND free_at IS NOT NULL AND free_at <= ?2
ORDER BY free_at, id LIMIT ?3
