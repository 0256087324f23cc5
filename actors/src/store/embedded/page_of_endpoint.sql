-- A page of an endpoint's tasks, newest first; or of those in a state. Walks down task_of_endpoint.
SELECT * FROM task INDEXED BY task_of_endpoint
WHERE endpoint = ?4 AND id < ?1 AND (?2 IS NULL OR state = ?2) ORDER BY id DESC LIMIT ?3
