-- Forgets a task's attempts from one number to another. A range of the primary key.
DELETE FROM attempt WHERE task = ?1 AND number BETWEEN ?2 AND ?3
