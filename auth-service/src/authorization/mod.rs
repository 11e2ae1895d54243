//! Authorization requests, from their arrival to their answer. Owns reading them, what has to happen first, and keeping
//! them while a person signs in, chooses or consents; never shows a page, and never issues a token.

pub mod claims;
pub mod decision;
pub mod flow;
pub mod request;
pub mod shown;

pub use self::decision::Step;
pub use self::flow::{Allowed, Ended, Flow, Over};
pub use self::request::{AuthorizationRequest, Refusal, ResponseMode, ReturnAddress};
