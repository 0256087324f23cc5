-- Takes back what processes that are gone had taken, and answers with the hosts. All of delivery_taken, which is as
-- much as was under way at a time.
UPDATE delivery INDEXED BY delivery_taken SET free_at = next_at WHERE free_at > next_at RETURNING host
