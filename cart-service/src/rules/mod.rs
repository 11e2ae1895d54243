//! What a cart, a price and a checkout may be. Pure: no async, no HTTP, no SQL, no clock of its own.

pub mod cart;
pub mod catalogue;
pub mod checkout;
pub mod money;
