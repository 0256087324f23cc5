-- What a task may ask for beside the settings of its endpoint, and what is known of its attempts.

-- The options as JSON; NULL for none.
ALTER TABLE task ADD COLUMN options TEXT;
-- How many attempts failed and were followed by another.
ALTER TABLE task ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
-- When a task that has never started is canceled, and when one that has not ended fails.
ALTER TABLE task ADD COLUMN start_by INTEGER;
ALTER TABLE task ADD COLUMN deadline INTEGER;
-- Whose task it is, from the options: for claims that are fair.
ALTER TABLE task ADD COLUMN fairness_key TEXT;
-- What ran the latest attempt, where it has a name.
ALTER TABLE task ADD COLUMN worker TEXT;
-- A digest of the input, where there is an idempotency key to compare it for.
ALTER TABLE task ADD COLUMN input_digest BLOB;
-- The batch it belongs to, and its name in there.
ALTER TABLE task ADD COLUMN batch INTEGER;
ALTER TABLE task ADD COLUMN custom_id TEXT;

-- Pending tasks that will not wait for ever, by the time they will wait.
CREATE INDEX task_overdue ON task (min(ifnull(start_by, deadline), ifnull(deadline, start_by)))
WHERE state = 0 AND (start_by IS NOT NULL OR deadline IS NOT NULL);
