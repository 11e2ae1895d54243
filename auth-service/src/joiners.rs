//! Where a joiner may stand in a text that others read: only where its script needs it (RFC 8264, section 9.8; RFC 5892, appendices
//! A.1 and A.2). Elsewhere it is unseen, and makes two texts of one. Rules only.

use icu_properties::CodePointMapData;
use icu_properties::props::JoiningType;
use unicode_normalization::char::canonical_combining_class;

/// Keeps apart what would join: in Persian, and in the scripts of India.
const NON_JOINER: char = '\u{200c}';
/// Joins what would stand apart: in the scripts of India.
const JOINER: char = '\u{200d}';
/// The combining class of what takes a consonant its vowel.
const VIRAMA: u8 = 9;

pub(crate) fn is_joiner(c: char) -> bool {
    matches!(c, NON_JOINER | JOINER)
}

/// Whether each joiner of the text stands where its script needs it.
pub(crate) fn are_in_place(text: &str) -> bool {
    text.char_indices().all(|(at, c)| {
        let (before, after) = (&text[..at], &text[at + c.len_utf8()..]);
        match c {
            JOINER => follows_virama(before),
            NON_JOINER => follows_virama(before) || parts_what_joins(before, after),
            _ => true,
        }
    })
}

fn follows_virama(before: &str) -> bool {
    before.chars().next_back().is_some_and(|c| canonical_combining_class(c) == VIRAMA)
}

fn parts_what_joins(before: &str, after: &str) -> bool {
    let types = CodePointMapData::<JoiningType>::new();
    let joins = |next: Option<char>, side: JoiningType| {
        next.map(|c| types.get(c)).is_some_and(|own| own == side || own == JoiningType::DualJoining)
    };
    let is_seen = |c: &char| types.get(*c) != JoiningType::Transparent;
    joins(before.chars().rev().find(is_seen), JoiningType::LeftJoining)
        && joins(after.chars().find(is_seen), JoiningType::RightJoining)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joiner_stands_where_its_script_needs_it_and_nowhere_else() {
        for good in [
            "Ada",
            // Persian: "Ali-Reza", kept apart.
            "علی\u{200c}رضا",
            // The same with a vowel sign on either side.
            "علی\u{64e}\u{200c}\u{64e}رضا",
            // Hindi and Sinhala: after a virama.
            "क\u{94d}\u{200d}ष",
            "क\u{94d}\u{200c}ष",
            "ශ\u{dca}\u{200d}රී",
        ] {
            assert!(are_in_place(good), "{good:?}");
        }
        for odd in [
            "A\u{200c}da",
            "A\u{200d}da",
            "\u{200c}علی",
            "علی\u{200c}",
            "علی\u{200d}رضا",
            "علی\u{200c}\u{200c}رضا",
            "علی\u{200c} رضا",
            // An alef and a dal join to what stands before them alone.
            "ا\u{200c}ب",
            "محمد\u{200c}رضا",
            "क\u{200d}ष",
            "\u{1f468}\u{200d}\u{1f469}",
            "\u{200d}",
        ] {
            assert!(!are_in_place(odd), "{odd:?}");
        }
    }
}
