//! What holds for an order, whoever asks: its states, its arithmetic, what a request may say. No HTTP, no SQL, no waiting.

pub mod cancellation_reason;
pub mod cursor;
pub mod idempotency_key;
pub mod lines;
pub mod money;
pub mod order;
pub mod order_limits;
pub mod order_status;
pub mod payment_method;
pub mod recovery;
pub mod request;
pub mod text;
