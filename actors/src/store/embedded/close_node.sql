-- Notes that the process gave up what it held and went in good order.
UPDATE node SET closed_at = ?1
