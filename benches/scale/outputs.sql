-- The outputs of those of tasks number :first to :last that have ended.
WITH RECURSIVE task_number (n) AS (SELECT :first UNION ALL SELECT n + 1 FROM task_number WHERE n + 1 < :last)
INSERT INTO output (task, status, headers, body)
SELECT n + 1, 200, NULL, printf('{"answer":%10d}', n) FROM task_number WHERE n < :finished;
