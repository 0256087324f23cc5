-- Gives an endpoint its number.
INSERT INTO endpoint (id, name) VALUES (?1, ?2)
