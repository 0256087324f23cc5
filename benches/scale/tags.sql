-- The tags of tasks number :first to :last.
WITH RECURSIVE task_number (n) AS (SELECT :first UNION ALL SELECT n + 1 FROM task_number WHERE n + 1 < :last)
INSERT INTO tag (key, value, task)
SELECT 'project', printf('p%d', n % :tags), unhex(printf('%012x7%03x8%015x', (:began + n * :apart) / 1000, n % 4096, n))
FROM task_number;
