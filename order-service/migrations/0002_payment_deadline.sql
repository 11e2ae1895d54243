-- Until then a placed order can be paid; afterwards it is cancelled. NULL where the release before has placed it: recovery
-- sets it.
ALTER TABLE orders ADD COLUMN payment_due_at BIGINT;
-- Why it was cancelled: at its owner's request, or because it was not paid in time.
ALTER TABLE orders ADD COLUMN cancellation_reason TEXT;

CREATE INDEX orders_unpaid ON orders (payment_due_at) WHERE status = 'placed';
CREATE INDEX orders_unpaid_by_user ON orders (user_id) WHERE status IN ('placing', 'reserved', 'placed', 'paying');
