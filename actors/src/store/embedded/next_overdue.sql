-- When the next time of a pending task that nobody holds will be over. One step into task_overdue.
SELECT CASE WHEN attempt > 0 THEN deadline ELSE min(ifnull(start_by, deadline), ifnull(deadline, start_by)) END
FROM task INDEXED BY task_overdue
WHERE state = 0 AND holder IS NULL AND (deadline IS NOT NULL OR (start_by IS NOT NULL AND attempt = 0))
AND CASE WHEN attempt > 0 THEN deadline ELSE min(ifnull(start_by, deadline), ifnull(deadline, start_by)) END > ?1
ORDER BY CASE WHEN attempt > 0 THEN deadline ELSE min(ifnull(start_by, deadline), ifnull(deadline, start_by)) END LIMIT 1
