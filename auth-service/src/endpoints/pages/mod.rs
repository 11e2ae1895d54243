//! The pages that a person sees here. Owns their words and forms; decides nothing: who may sign in, what a client gets and
//! which session ends are the acts' to say.
//!
//! Each page has one address: GET shows it, POST takes its form and answers 303, or shows it again with what is wrong.

pub(super) mod account;
pub(super) mod applications;
pub(super) mod consent;
pub(super) mod device;
mod form_post;
mod leave;
pub(super) mod log_out;
pub(super) mod member;
mod over;
pub(super) mod password;
pub(super) mod register;
pub(super) mod select_account;
pub(super) mod sessions;
pub(super) mod sign_in;
pub(super) mod sign_out;
pub(super) mod switch_account;
mod texts;
mod way;

pub(super) use self::form_post::form_post;
pub(super) use self::leave::leave;
pub(super) use self::over::over;
