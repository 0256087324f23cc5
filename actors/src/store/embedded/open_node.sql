-- Begins a new epoch and answers its number.
INSERT INTO node (id, epoch, opened_at) VALUES (1, 1, ?1)
ON CONFLICT (id) DO UPDATE SET epoch = epoch + 1, opened_at = excluded.opened_at, closed_at = NULL
RETURNING epoch
