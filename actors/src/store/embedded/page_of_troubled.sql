-- A page of an endpoint's failed or canceled tasks, newest first. Walks down task_troubled.
SELECT * FROM task INDEXED BY task_troubled
WHERE state >= 3 AND state = ?2 AND endpoint = ?4 AND id < ?1 ORDER BY id DESC LIMIT ?3
