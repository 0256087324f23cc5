-- Makes a held task wait again. Served by the primary key.
UPDATE task SET
    state = 0, holder = NULL, attempt = ?2, started_at = ?3, crashes = ?4, failures = ?5, due_at = ?6
WHERE seq = ?1
