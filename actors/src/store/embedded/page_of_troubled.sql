-- An endpoint's failed or canceled tasks between two ids, newest first. Walks down task_troubled.
SELECT * FROM task INDEXED BY task_troubled
WHERE state >= 3 AND state = ?4 AND endpoint = ?3 AND id < ?1 AND id >= ?2 ORDER BY id DESC LIMIT ?5
