-- Times are microseconds since 1970 (UTC).

CREATE TABLE users (
    id            UUID   NOT NULL PRIMARY KEY,
    -- In canonical form: see src/email.rs.
    email         TEXT   NOT NULL UNIQUE,
    display_name  TEXT   NOT NULL,
    -- PHC text of argon2id.
    password_hash TEXT   NOT NULL,
    -- Words in order, with a space between.
    roles         TEXT   NOT NULL,
    locked_at     BIGINT,
    -- Grows with every change that must end sessions: password, roles, lock.
    version       BIGINT NOT NULL,
    -- The version up to which that was done; smaller while the session store did not answer.
    ended_version BIGINT NOT NULL,
    created_at    BIGINT NOT NULL
);

CREATE INDEX users_with_sessions_to_end ON users (id) WHERE ended_version < version;

CREATE TABLE signing_keys (
    -- RFC 7638 thumbprint of the public key.
    kid                TEXT   NOT NULL PRIMARY KEY,
    -- Each algorithm has its own ring of keys.
    alg                TEXT   NOT NULL,
    generation         BIGINT NOT NULL,
    public_jwk         TEXT   NOT NULL,
    -- PKCS#8, sealed with MASTER_KEY for this kid: see src/seal.rs.
    sealed_private_key BYTEA  NOT NULL,
    created_at         BIGINT NOT NULL,
    -- Signs from here,
    activates_at       BIGINT NOT NULL,
    -- until here,
    retires_at         BIGINT,
    -- and is published until here.
    withdrawn_at       BIGINT,
    -- A stranger may have it since: nothing that it signed is believed any more.
    compromised_at     BIGINT,
    -- Of several replicas that rotate at once, one can insert a ring's next generation.
    UNIQUE (alg, generation)
);

CREATE TABLE audit (
    id      UUID   NOT NULL PRIMARY KEY,
    at      BIGINT NOT NULL,
    act     TEXT   NOT NULL,
    outcome TEXT   NOT NULL,
    -- Who did it: a user's id, or the command line, or the service itself.
    actor   TEXT   NOT NULL,
    -- Whom it was done to.
    subject UUID,
    session TEXT,
    address TEXT,
    -- Words without secrets.
    detail  TEXT   NOT NULL
);

CREATE INDEX audit_by_time ON audit (at, id);
CREATE INDEX audit_by_subject ON audit (subject, at, id);
