-- Forgets a delivery. Served by the unique index on id.
DELETE FROM delivery WHERE id = ?1
