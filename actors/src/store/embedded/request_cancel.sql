-- Notes that a task which runs is to be canceled. Served by the primary key.
UPDATE task SET cancel_requested = 1 WHERE seq = ?1
