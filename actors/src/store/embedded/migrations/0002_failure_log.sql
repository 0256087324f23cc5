-- The last lines of the log of what ran a task that failed; NULL where there is none.
ALTER TABLE task ADD COLUMN failure_log TEXT;
