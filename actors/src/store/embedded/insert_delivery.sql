-- Records a delivery that is due. Appends.
INSERT INTO delivery (id, about, host, url, body, traceparent, begun_at, next_at, free_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?7)
