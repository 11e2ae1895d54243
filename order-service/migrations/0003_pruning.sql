-- Finds what is forgotten: orders that were cancelled without ever being paid, and payments that were declined.
CREATE INDEX orders_given_up ON orders (cancelled_at) WHERE status = 'cancelled' AND paid_at IS NULL;
CREATE INDEX test_charges_declined ON test_charges (charged_at) WHERE outcome = 'declined';
