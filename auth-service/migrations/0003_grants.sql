-- What clients were given. Times are microseconds since 1970 (UTC).

CREATE TABLE grants (
    id         UUID   NOT NULL PRIMARY KEY,
    -- The login session that it belongs to, and ends with.
    session    TEXT   NOT NULL,
    user_id    UUID   NOT NULL,
    client_id  TEXT   NOT NULL,
    -- Words in order, with a space between.
    scope      TEXT   NOT NULL,
    -- The services that its access tokens are for, the same way.
    audiences  TEXT   NOT NULL,
    -- Claims that were asked for one by one (OpenID Connect Core, section 5.5): JSON.
    claims     TEXT   NOT NULL,
    -- The thumbprint of the key that its tokens are bound to (RFC 9449).
    dpop_jkt   TEXT,
    created_at BIGINT NOT NULL,
    ended_at   BIGINT
);

CREATE INDEX grants_by_session ON grants (session) WHERE ended_at IS NULL;
CREATE INDEX grants_by_user_and_client ON grants (user_id, client_id) WHERE ended_at IS NULL;
CREATE INDEX grants_by_client ON grants (client_id) WHERE ended_at IS NULL;
CREATE INDEX grants_by_end ON grants (ended_at) WHERE ended_at IS NOT NULL;

-- What users have allowed clients, until they take it back.
CREATE TABLE consents (
    user_id    UUID   NOT NULL,
    client_id  TEXT   NOT NULL,
    scope      TEXT   NOT NULL,
    granted_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, client_id)
);
