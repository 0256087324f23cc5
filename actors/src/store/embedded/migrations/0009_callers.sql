-- Claims that give callers turns, and that never see what is not due, however much it is.

-- Whether the task was found to be due. A claim finds out; a task that is put back may have to wait again.
ALTER TABLE task ADD COLUMN ripe INTEGER NOT NULL DEFAULT 0;

-- What a claim may take: caller by caller, and of each the most urgent first.
DROP INDEX task_waiting;
CREATE INDEX task_waiting ON task (endpoint, ripe, fairness_key, priority, due_at, id)
WHERE state = 0 AND holder IS NULL;
-- What waits for its time, in the order in which it comes.
CREATE INDEX task_ripening ON task (endpoint, due_at) WHERE state = 0 AND holder IS NULL AND ripe = 0;
