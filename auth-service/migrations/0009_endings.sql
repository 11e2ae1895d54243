-- What was ended or taken back before its time, for as long as it could be shown: a session store that loses its memory is
-- told again, and nodes that share no store hear of it here. Times are microseconds since 1970 (UTC).

CREATE TABLE endings (
    -- In the order of the commits: see ending_numbers.
    number     BIGINT NOT NULL PRIMARY KEY,
    -- s:SESSION, t:TOKEN (or the grant that it was issued by), a:USER:VERSION (all sessions of an older version of the account).
    what       TEXT   NOT NULL UNIQUE,
    user_id    UUID,
    -- The session of the account that goes on.
    spared     TEXT,
    reason     TEXT   NOT NULL,
    -- Who ended it, and from where, as in the audit.
    actor      TEXT   NOT NULL,
    address    TEXT,
    ended_at   BIGINT NOT NULL,
    -- When the store had confirmed it, and the audit had its entry. Until then any replica carries it out.
    settled_at BIGINT
);

CREATE INDEX endings_by_time ON endings (ended_at);
CREATE INDEX endings_to_settle ON endings (ended_at) WHERE settled_at IS NULL;

-- The last number. Its row is locked until the transaction ends that took a number: a reader that has seen a number has seen
-- all before it.
CREATE TABLE ending_numbers (
    only_row BIGINT NOT NULL PRIMARY KEY,
    last     BIGINT NOT NULL
);

INSERT INTO ending_numbers (only_row, last) VALUES (1, 0);
