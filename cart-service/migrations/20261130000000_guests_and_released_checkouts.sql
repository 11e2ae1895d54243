-- What bounds the tables. Times are microseconds since 1970 (UTC).

-- What guests have written, by network: see shared/src/key_value/database.rs. A count that has expired is as good as gone.
CREATE TABLE small_values (
    key TEXT NOT NULL PRIMARY KEY,
    content BYTEA NOT NULL,
    count BIGINT NOT NULL,
    ends_at BIGINT NOT NULL
);
CREATE INDEX small_values_by_end ON small_values (ends_at);

-- Checkouts that were released are forgotten after a time.
CREATE INDEX checkouts_released ON checkouts (expires_at) WHERE status = 'released';
