-- The secret that a client had before its last rotation, good beside the new one until then (microseconds since 1970, UTC).
ALTER TABLE clients ADD COLUMN former_secret_hash BYTEA;
ALTER TABLE clients ADD COLUMN former_secret_until BIGINT;
