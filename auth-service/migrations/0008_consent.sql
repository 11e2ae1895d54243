-- Whether an administrator vouches for the client: only then is a browser sent to it without a person's act. Clients that
-- registered themselves wait for that.
ALTER TABLE clients ADD COLUMN approved BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE clients SET approved = TRUE WHERE registration_token_hash IS NULL;

-- Grows when the client is disabled: what people had answered it before, and had not become a grant, is worth nothing.
ALTER TABLE clients ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;

-- How often a user has taken a client's access back. Outlives the consent: what was answered before is told by it.
CREATE TABLE consent_epochs (
    user_id     UUID   NOT NULL,
    client_id   TEXT   NOT NULL,
    withdrawals BIGINT NOT NULL,
    PRIMARY KEY (user_id, client_id)
);

CREATE INDEX consent_epochs_by_client ON consent_epochs (client_id);
