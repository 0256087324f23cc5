-- Records a batch without tasks.
INSERT INTO batch (id, endpoint, state, priority, created_at, expires_at, keep, idempotency_key, webhook)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
