//! What a person does after a refusal, where a handler knows better than the refusal's page: words and one way on.

use actix_web::{HttpMessage as _, HttpRequest};

use super::Language;

/// The way on. Its words are in the language of the page.
#[derive(Debug, Clone)]
pub struct NextStep {
    /// The language of all words, and so of the page.
    pub language: Language,
    /// What happened and what to do, in place of what the page says by itself.
    pub says: Option<String>,
    /// What the link, or the button, is called.
    pub action: String,
    pub to: Destination,
    /// Where it leads, as words before the place; for an address of another site.
    pub leads_to: Option<(String, String)>,
    /// What to think of before.
    pub warning: Option<String>,
}

/// Where a link leads, or a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub address: String,
    /// What a form takes there; a link has all in its address.
    pub posted: Option<Vec<(String, String)>>,
}

impl Destination {
    pub fn link(address: impl Into<String>) -> Self {
        Self { address: address.into(), posted: None }
    }
}

impl NextStep {
    /// Remembers the way on for the page that refuses `request`.
    pub fn note(self, request: &HttpRequest) {
        request.extensions_mut().insert(self);
    }

    pub(super) fn of(request: &HttpRequest) -> Option<Self> {
        request.extensions().get::<Self>().cloned()
    }
}
