//! Texts that a reader could take for another one (UTS 39). Rules only; which texts may not is for their owners to say.

use unicode_normalization::char::is_combining_mark;
use unicode_security::{RestrictionLevel, RestrictionLevelDetection as _, skeleton};

/// Whether a word of a name does: it mixes scripts, or is written with other letters and looks like ASCII throughout. Signs and
/// emoji are of no script.
pub(crate) fn imitates_a_name(name: &str) -> bool {
    let letters =
        |word: &str| word.chars().filter(|c| c.is_alphanumeric() || is_combining_mark(*c)).collect::<String>();
    name.split_whitespace().any(|word| imitates(&letters(word)))
}

/// Whether a part of an address does.
pub(crate) fn imitates(text: &str) -> bool {
    if text.is_ascii() {
        return false;
    }
    // Signs such as + are of no script, and not for identifiers.
    let letters: String = text.chars().filter(|c| !c.is_ascii() || c.is_ascii_alphanumeric()).collect();
    // A dot above a letter that has one already shows as the letter alone.
    let has_second_dot = letters.contains("i\u{307}") || letters.contains("j\u{307}");
    has_second_dot
        || letters.as_str().detect_restriction_level() > RestrictionLevel::SingleScript
        || skeleton(&letters).all(|c| c.is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_imitates_another_is_known() {
        for honest in ["Roam", "Ärzte & Söhne", "Joe’s “Café” 🚀", "Магазин Roam", "購物 Shop", "Ελλάδα", "a", "—", ""]
        {
            assert!(!imitates_a_name(honest), "{honest}");
        }
        for imitation in [
            "R\u{43e}am",
            "The R\u{43e}am Shop",
            "\u{440}\u{430}\u{443}\u{440}\u{430}l",
            "\u{455}\u{43e}\u{440}",
            "ﬀi\u{307}",
        ] {
            assert!(imitates_a_name(imitation), "{imitation}");
        }
    }
}
