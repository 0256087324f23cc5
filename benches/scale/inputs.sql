-- The inputs of tasks number :first to :last.
WITH RECURSIVE task_number (n) AS (SELECT :first UNION ALL SELECT n + 1 FROM task_number WHERE n + 1 < :last)
INSERT INTO input (task, headers, body) SELECT n + 1, NULL, printf('{"prompt":%10d}', n) FROM task_number;
