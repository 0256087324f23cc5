-- What is known of the attempts of a task, the times it sets itself, and whether it is to be canceled by force.

-- The epoch that ran the attempt which ended the task; NULL where none did, and in rows of before this.
ALTER TABLE task ADD COLUMN node INTEGER;
-- Whether the attempt that runs is to be stopped, and the task canceled.
ALTER TABLE task ADD COLUMN cancel_requested INTEGER NOT NULL DEFAULT 0;

-- The attempts that the row of their task does not tell of: those that did not end it, and the one that did where it
-- left a log. `outcome` is a word.
CREATE TABLE attempt (
    task            INTEGER NOT NULL,
    number          INTEGER NOT NULL,
    node            INTEGER,
    worker          TEXT,
    started_at      INTEGER NOT NULL,
    ended_at        INTEGER NOT NULL,
    outcome         TEXT    NOT NULL,
    failure_code    TEXT,
    failure_message TEXT,
    log             TEXT,
    PRIMARY KEY (task, number)
) WITHOUT ROWID;

-- Only what nobody holds: who holds a task looks after its times. That it must start means nothing once it has.
DROP INDEX task_overdue;
CREATE INDEX task_overdue ON task (
    CASE WHEN attempt > 0 THEN deadline ELSE min(ifnull(start_by, deadline), ifnull(deadline, start_by)) END,
    id
)
WHERE state = 0 AND holder IS NULL AND (deadline IS NOT NULL OR (start_by IS NOT NULL AND attempt = 0));
