-- An endpoint's tasks between two ids, newest first, read as far as they are needed. Walks down task_of_endpoint.
SELECT * FROM task INDEXED BY task_of_endpoint WHERE endpoint = ?3 AND id < ?1 AND id >= ?2 ORDER BY id DESC
