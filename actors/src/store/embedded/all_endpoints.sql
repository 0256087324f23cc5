-- Every endpoint with its number, in the order of the numbers.
SELECT id, name FROM endpoint ORDER BY id
