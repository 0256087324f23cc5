-- Tasks number :first to :last: those below :finished have ended, the rest wait.
WITH RECURSIVE task_number (n) AS (SELECT :first UNION ALL SELECT n + 1 FROM task_number WHERE n + 1 < :last)
INSERT INTO task (
    id, endpoint, state, priority, attempt, fence, submitted_at, due_at, started_at, finished_at, expires_at,
    input_bytes, output_bytes, input_in_file, failure_code, failure_message, options
)
SELECT
    unhex(printf('%012x7%03x8%015x', (:began + n * :apart) / 1000, n % 4096, n)),
    n % :endpoints + 1,
    CASE WHEN n >= :finished THEN 0 WHEN n % :rare = 1 THEN 3 WHEN n % :rare = 2 THEN 4 ELSE 2 END,
    CASE WHEN n >= :finished THEN n % 10 ELSE 5 END,
    n < :finished,
    n < :finished,
    :began + n * :apart,
    :began + n * :apart,
    CASE WHEN n < :finished THEN :began + n * :apart + 1000 END,
    CASE WHEN n < :finished THEN :began + n * :apart + 2000 END,
    -- Nothing expires while we measure.
    CASE WHEN n < :finished THEN :began + n * :apart + 100 * 86400 * 1000000 END,
    20,
    CASE WHEN n < :finished THEN 20 ELSE 0 END,
    0,
    CASE WHEN n < :finished AND n % :rare = 1 THEN 'upstream_5xx' END,
    CASE WHEN n < :finished AND n % :rare = 1 THEN 'the model said no' END,
    printf('{"tags":{"project":"p%d"}}', n % :tags)
FROM task_number;
