-- Makes a task one that can be found by a tag. Nearly appends to the tag's range of the primary key.
INSERT INTO tag (key, value, task) VALUES (?1, ?2, ?3)
