-- Notes that what a delivery tells of is deleted. Served by the unique index on id.
UPDATE delivery SET orphan = 1 WHERE id = ?1
