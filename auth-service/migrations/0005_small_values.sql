-- One-time codes and counts of attempts, where neither a Redis nor one process's memory has them: nodes that keep sessions
-- themselves share this database. What has expired is as good as gone. Times are microseconds since 1970 (UTC).

CREATE TABLE small_values (
    key     TEXT   NOT NULL PRIMARY KEY,
    -- A value's bytes. A counter has none.
    content BYTEA  NOT NULL,
    count   BIGINT NOT NULL,
    ends_at BIGINT NOT NULL
);

CREATE INDEX small_values_by_end ON small_values (ends_at);
