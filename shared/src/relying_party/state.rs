//! The `state` of a sign-in (RFC 6749, section 4.1.1): an id, by which its cookie is named, and the place to come back to, sealed.
//! So a sign-in whose cookie is gone can still be begun again for the same place.

use super::cookies::Cookies;
use crate::return_to::ReturnTo;

/// Between the id and the place.
const SEPARATOR: char = '.';
/// The longest place that is in the `state`, in bytes: providers bound what they bring back.
const LONGEST_PLACE: usize = 512;

/// What an answer names as its `state`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct State<'a> {
    pub(super) id: &'a str,
    /// Nothing where it is the front page, or too long, or not sealed here for this id.
    pub(super) place: Option<ReturnTo>,
}

fn purpose(id: &str) -> String {
    format!("place of the sign-in {id}")
}

/// The `state` of the sign-in with that id.
pub(super) fn write(cookies: &Cookies, id: &str, place: &ReturnTo) -> String {
    if *place == ReturnTo::default() || place.as_str().len() > LONGEST_PLACE {
        return id.to_owned();
    }
    format!("{id}{SEPARATOR}{}", cookies.seal_text(&purpose(id), place.as_str()))
}

/// What a text says that came back as the `state`: any text may.
pub(super) fn read<'a>(cookies: &Cookies, text: &'a str) -> State<'a> {
    let Some((id, sealed)) = text.split_once(SEPARATOR) else { return State { id: text, place: None } };
    State { id, place: cookies.open_text(&purpose(id), sealed).and_then(|place| place.parse().ok()) }
}
