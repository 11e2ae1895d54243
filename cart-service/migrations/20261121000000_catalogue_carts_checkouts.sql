-- Money is whole minor units of the shop's currency; 9007199254740991 is the largest integer that every JSON reader keeps.
CREATE TABLE products (
    id UUID PRIMARY KEY,
    name TEXT NOT NULL,
    -- The name in lower case: the order of the catalogue.
    name_key TEXT NOT NULL CHECK (name_key <> ''),
    description TEXT NOT NULL,
    -- Name and description in lower case: what a search looks at.
    search_text TEXT NOT NULL,
    category TEXT NOT NULL,
    amount BIGINT NOT NULL CHECK (amount BETWEEN 0 AND 9007199254740991),
    stock BIGINT NOT NULL CHECK (stock >= 0)
);
CREATE INDEX products_in_order ON products (name_key, id);

-- A cart is a user's or a guest's. A user's never expires.
CREATE TABLE carts (
    id UUID PRIMARY KEY,
    user_id UUID UNIQUE,
    guest_secret_hash BYTEA UNIQUE,
    version BIGINT NOT NULL,
    expires_at BIGINT,
    CHECK ((user_id IS NULL) <> (guest_secret_hash IS NULL)),
    CHECK ((guest_secret_hash IS NULL) = (expires_at IS NULL))
);
CREATE INDEX carts_by_expiry ON carts (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE cart_lines (
    cart_id UUID NOT NULL REFERENCES carts (id) ON DELETE CASCADE,
    product_id UUID NOT NULL REFERENCES products (id),
    quantity BIGINT NOT NULL CHECK (quantity BETWEEN 1 AND 99),
    added_at BIGINT NOT NULL,
    PRIMARY KEY (cart_id, product_id)
);

CREATE TABLE checkouts (
    id UUID PRIMARY KEY,
    user_id UUID NOT NULL,
    idempotency_key TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('held', 'confirmed', 'released')),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    UNIQUE (user_id, idempotency_key)
);
CREATE INDEX checkouts_held ON checkouts (expires_at) WHERE status = 'held';

-- What was held, at the price of that moment.
CREATE TABLE checkout_lines (
    checkout_id UUID NOT NULL REFERENCES checkouts (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    product_id UUID NOT NULL REFERENCES products (id),
    name TEXT NOT NULL,
    quantity BIGINT NOT NULL CHECK (quantity BETWEEN 1 AND 99),
    amount BIGINT NOT NULL CHECK (amount BETWEEN 0 AND 9007199254740991),
    PRIMARY KEY (checkout_id, product_id)
);
