//! What a listing of the catalogue may ask for, and where a page ends.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// How many words a search looks for one by one; what follows the last is looked for as it stands.
pub const SEARCH_WORDS: usize = 4;
const MAX_SEARCH: usize = 100;
const MAX_CURSOR: usize = 1_024;

/// A parameter of the query that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {detail}")]
pub struct InvalidParameter {
    pub name: &'static str,
    pub detail: &'static str,
}

/// A page of the catalogue, in the order of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// `LIKE` patterns with the escape `!`, in lower case; a product matches all of them.
    pub patterns: [String; SEARCH_WORDS],
    pub category: Option<String>,
    /// The page begins after it.
    pub after: Position,
    /// 1 to 100.
    pub limit: i64,
}

/// A product's place in the order. The default stands before the first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Position {
    pub name_key: String,
    pub product: Uuid,
}

impl Listing {
    /// Reads the parameters as they stand in the query.
    ///
    /// # Errors
    /// One is out of its bounds.
    pub fn read(
        search: Option<&str>,
        category: Option<&str>,
        limit: Option<&str>,
        cursor: Option<&str>,
    ) -> Result<Self, InvalidParameter> {
        let refused = |name, detail| InvalidParameter { name, detail };
        let search = search.unwrap_or_default();
        if search.chars().count() > MAX_SEARCH {
            return Err(refused("q", "expected at most 100 characters"));
        }
        let slug = |text: &&str| {
            (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        };
        if category.is_some_and(|text| !slug(&text)) {
            return Err(refused("category", "expected 1 to 64 of the characters a-z and -"));
        }
        let limit = limit.map_or(Ok(20), str::parse).ok().filter(|limit| (1..=100).contains(limit));
        let limit = limit.ok_or_else(|| refused("limit", "expected a whole number from 1 to 100"))?;
        let after = cursor.map_or(Some(Position::default()), Position::from_cursor);
        let after = after.ok_or_else(|| refused("cursor", "expected the `next` of an earlier page"))?;
        Ok(Self { patterns: patterns(search), category: category.map(str::to_owned), after, limit })
    }
}

fn patterns(search: &str) -> [String; SEARCH_WORDS] {
    let is_gap = |character: char| character.is_whitespace() || character.is_control();
    let search = search.to_lowercase();
    let words: Vec<&str> = search.split(is_gap).filter(|word| !word.is_empty()).collect();
    let mut patterns = [const { String::new() }; SEARCH_WORDS];
    for (index, pattern) in patterns.iter_mut().enumerate() {
        let last = index + 1 == SEARCH_WORDS;
        let until = if last { words.len() } else { words.len().min(index + 1) };
        *pattern = contains(&words.get(index..until).unwrap_or_default().join(" "));
    }
    patterns
}

fn contains(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.chars() {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    if !text.is_empty() {
        pattern.push('%');
    }
    pattern
}

impl Position {
    /// Opaque to clients.
    pub fn to_cursor(&self) -> String {
        URL_SAFE_NO_PAD.encode([self.product.as_bytes(), self.name_key.as_bytes()].concat())
    }

    fn from_cursor(cursor: &str) -> Option<Self> {
        let bytes = (cursor.len() <= MAX_CURSOR).then(|| URL_SAFE_NO_PAD.decode(cursor).ok()).flatten()?;
        let (product, name_key) = bytes.split_first_chunk::<16>()?;
        let name_key = String::from_utf8(name_key.to_vec()).ok()?;
        let plain = !name_key.is_empty() && !name_key.chars().any(char::is_control);
        plain.then(|| Self { name_key, product: Uuid::from_bytes(*product) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(search: &str, limit: &str, cursor: Option<&str>) -> Result<Listing, InvalidParameter> {
        Listing::read(Some(search), None, Some(limit), cursor)
    }

    #[test]
    fn a_search_is_words_in_lower_case_with_the_wildcards_escaped() {
        let patterns = |search| read(search, "20", None).expect("a search").patterns;
        assert_eq!(patterns(""), ["%", "%", "%", "%"]);
        assert_eq!(patterns("  Blue\u{0}MUG "), ["%blue%", "%mug%", "%", "%"]);
        assert_eq!(patterns("100% a_b!"), ["%100!%%", "%a!_b!!%", "%", "%"]);
        assert_eq!(patterns("a b c d e"), ["%a%", "%b%", "%c%", "%d e%"]);
    }

    #[test]
    fn a_limit_is_from_1_to_100() {
        for good in ["1", "20", "100"] {
            assert!(read("", good, None).is_ok(), "{good}");
        }
        for bad in ["", "0", "-1", "101", "1000000000", "9223372036854775808", "1.5", "ten", "0x10", " 1"] {
            assert_eq!(read("", bad, None).map_err(|error| error.name), Err("limit"), "{bad}");
        }
    }

    #[test]
    fn a_cursor_comes_back_and_no_other_text_is_one() {
        let position = Position { name_key: "blue mug – größe 2".to_owned(), product: Uuid::from_u128(7) };
        assert_eq!(read("", "20", Some(&position.to_cursor())).map(|listing| listing.after), Ok(position));
        let only_id = URL_SAFE_NO_PAD.encode([0; 16]);
        let nul = URL_SAFE_NO_PAD.encode([[0; 16].as_slice(), b"a\0b"].concat());
        let no_text = URL_SAFE_NO_PAD.encode([0xff; 20]);
        for bad in ["", "a", "0", "' OR 1=1", &only_id, &nul, &no_text, &"A".repeat(5_000)] {
            assert_eq!(read("", "20", Some(bad)).map_err(|error| error.name), Err("cursor"), "{bad}");
        }
    }

    #[test]
    fn a_search_and_a_category_have_an_end() {
        assert_eq!(read(&"é".repeat(101), "1", None).map_err(|error| error.name), Err("q"));
        assert!(read(&"é".repeat(100), "1", None).is_ok());
        for bad in ["", "Tea", "tea'", "tea\u{0}", &"t".repeat(65)] {
            assert_eq!(
                Listing::read(None, Some(bad), None, None).map_err(|error| error.name),
                Err("category"),
                "{bad}"
            );
        }
    }
}
