-- Times are microseconds since 1970, money is in minor units of the order's currency.

CREATE TABLE orders (
    id UUID PRIMARY KEY,
    user_id UUID NOT NULL,
    -- The client's name for its request. NULL once the attempt has failed: the name is free again.
    idempotency_key TEXT,
    -- SHA-256 of the request's body in one canonical form.
    request_hash BYTEA NOT NULL,
    status TEXT NOT NULL,
    note TEXT,
    shipping_address TEXT,
    -- What the cart service holds for the order, as it was priced; all set together.
    checkout_id TEXT,
    lines TEXT,
    total BIGINT,
    currency TEXT,
    -- Counts the payments that were begun; the processor knows a charge by the order and this number.
    payment_attempt BIGINT NOT NULL,
    payment_method TEXT,
    created_at BIGINT NOT NULL,
    placed_at BIGINT,
    paid_at BIGINT,
    cancelled_at BIGINT,
    -- Until then somebody is at work on the order.
    leased_until BIGINT NOT NULL,
    -- From then on recovery finishes what is under way.
    next_attempt_at BIGINT NOT NULL,
    -- How often in a row finishing failed.
    failures BIGINT NOT NULL
);

CREATE UNIQUE INDEX orders_by_key ON orders (user_id, idempotency_key);
CREATE INDEX orders_by_user ON orders (user_id, created_at, id);
CREATE INDEX orders_under_way ON orders (next_attempt_at)
    WHERE status IN ('placing', 'reserved', 'paying', 'cancelling');
CREATE INDEX orders_failed ON orders (created_at) WHERE status = 'failed';

-- The test payment processor's own books.
CREATE TABLE test_charges (
    order_id UUID NOT NULL,
    attempt BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    currency TEXT NOT NULL,
    outcome TEXT NOT NULL,
    charged_at BIGINT NOT NULL,
    refunded_at BIGINT,
    PRIMARY KEY (order_id, attempt)
);

-- An order's money is taken once, whatever else goes wrong.
CREATE UNIQUE INDEX test_charges_approved_once ON test_charges (order_id) WHERE outcome = 'approved';
