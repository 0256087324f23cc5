-- Who runs a task, or ran the attempt that ended it. Served by the primary key.
SELECT ifnull(holder, node), worker FROM task WHERE seq = ?1
