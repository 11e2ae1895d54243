-- Times are microseconds since 1970 (UTC).

CREATE TABLE clients (
    id                      TEXT    NOT NULL PRIMARY KEY,
    -- RFC 7591, section 2, as JSON: see src/clients/metadata.rs.
    metadata                TEXT    NOT NULL,
    -- SHA-256 of a random secret.
    secret_hash             BYTEA,
    -- SHA-256 of the token with which a client that registered itself reads and changes its registration (RFC 7592).
    registration_token_hash BYTEA,
    -- No consent is asked.
    first_party             BOOLEAN NOT NULL,
    created_at              BIGINT  NOT NULL,
    disabled_at             BIGINT
);

CREATE INDEX clients_registered_by_themselves ON clients (id) WHERE registration_token_hash IS NOT NULL;

-- What lets clients register themselves (RFC 7591, section 3).
CREATE TABLE initial_access_tokens (
    -- SHA-256 of a random token.
    token_hash BYTEA  NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    uses_left  BIGINT NOT NULL
);
