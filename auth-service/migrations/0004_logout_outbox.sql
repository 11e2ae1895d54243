-- Clients that are to be told of the end of a session (OpenID Connect Back-Channel Logout 1.0), until they were told. Times
-- are microseconds since 1970 (UTC).

CREATE TABLE logout_deliveries (
    id         UUID   NOT NULL PRIMARY KEY,
    client_id  TEXT   NOT NULL,
    session    TEXT   NOT NULL,
    user_id    UUID   NOT NULL,
    -- Where to and how signed, as the client had it then: it may be gone by now.
    uri        TEXT   NOT NULL,
    alg        TEXT   NOT NULL,
    -- Whether nobody but the client itself has named the address.
    own_claim  BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    -- How often it was tried. Also tells replicas apart: whoever has counted on has the row.
    attempts   BIGINT NOT NULL,
    -- Not before. A replica that tries it moves this on first: until then nobody else does.
    next_at    BIGINT NOT NULL,
    -- It was tried often enough, and waits for a person.
    dead_at    BIGINT,
    -- Why the last attempt failed: a word of ours.
    last_error TEXT
);

CREATE INDEX logout_deliveries_waiting ON logout_deliveries (client_id, next_at) WHERE dead_at IS NULL;
CREATE INDEX logout_deliveries_dead ON logout_deliveries (dead_at) WHERE dead_at IS NOT NULL;
CREATE INDEX logout_deliveries_by_time ON logout_deliveries (created_at, id);

-- When to look whether a grant's session still lives. At once, where a release that does not know the column wrote the row.
ALTER TABLE grants ADD COLUMN look_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX grants_to_look_at ON grants (look_at) WHERE ended_at IS NULL;
