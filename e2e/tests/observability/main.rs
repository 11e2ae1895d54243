//! What an operator sees of the platform: traces as a collector receives them, log lines, metrics; and that nothing secret
//! is in any of them.

mod collector;
mod logs;
mod metrics;
mod outages;
mod traces;
