-- Records a pending task. Appends to the table, to the index on id and to one of task_waiting and task_held.
INSERT INTO task (
    id, endpoint, state, priority, fence, holder, submitted_at, due_at, input_bytes, input_in_file, idempotency_key,
    start_by, deadline, options, fairness_key, input_digest
) VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
