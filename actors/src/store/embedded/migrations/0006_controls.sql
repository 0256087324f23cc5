-- How operators have set endpoints, over the configuration. A NULL concurrency is the configured one.
CREATE TABLE control (
    endpoint    INTEGER PRIMARY KEY,
    paused      INTEGER NOT NULL,
    concurrency INTEGER
);
