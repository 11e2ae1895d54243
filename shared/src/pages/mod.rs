//! Pages for people: one layout, two languages, and what protects a form. Owns the headers of a page, the token that shows
//! that a form was ours, and the files of `/assets`; knows no page of a service, and keeps nothing between two requests.
//!
//! A handler asks for a [`Page`] and answers [`Page::show`] with a template that extends `layout.html`; for a form that was
//! sent, it asks for an [`HtmlForm`] as well. Everything works without scripts, and nothing comes from another site.
//!
//! A service that has pages gives its `App` a `web::Data<Site>`, its endpoints [`assets`], and lists the templates of this
//! crate in its `askama.toml`: `dirs = ["templates", "../shared/templates"]`. Where people sign in, a `web::Data<Greeter>` lets
//! its refusals greet them.

mod asset;
mod csrf;
pub(crate) mod errors;
mod form;
mod language;
mod next_step;
mod page;
mod site;
#[cfg(test)]
mod tests;
mod texts;
mod visit;

pub use self::asset::assets;
pub use self::form::{Field, HtmlForm};
pub use self::language::Language;
pub use self::next_step::{Destination, NextStep};
pub use self::page::Page;
pub use self::site::Site;
pub use self::texts::LayoutTexts;
pub use self::visit::{Greeter, Visit};
pub use crate::return_to::ReturnTo;
pub use crate::texts;
