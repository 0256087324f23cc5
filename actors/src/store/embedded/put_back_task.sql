-- Makes a held task wait again, and not yet known to be due. Served by the primary key.
UPDATE task SET
    state = 0, holder = NULL, ripe = 0, attempt = ?2, started_at = ?3, crashes = ?4, failures = ?5, due_at = ?6
WHERE seq = ?1
