//! Whether two URLs name the same target of a request. Rules only.

use url::Url;

/// The longest URL that is looked at.
const MAX_URL: usize = 2048;

/// Whether a proof's `htu` is the request's URL: both without query and fragment, and normalised (RFC 9449, section 4.3;
/// RFC 3986, sections 6.2.2 and 6.2.3).
pub(super) fn is_same_target(htu: &str, url: &str) -> bool {
    normalised(htu).is_some_and(|htu| normalised(url) == Some(htu))
}

fn normalised(text: &str) -> Option<String> {
    // A browser's parser forgives blanks and backslashes. Two readers could differ over them.
    let is_plain = text.len() <= MAX_URL && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let mut url = Url::parse(text).ok().filter(|_| is_plain)?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    if !is_web || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    url.set_query(None);
    url.set_fragment(None);
    let path = spelled_alike(url.path())?;
    url.set_path("");
    Some(format!("{}{path}", url.as_str().trim_end_matches('/')))
}

/// The path with each percent-encoding in its one spelling: unreserved characters stand for themselves, and digits are
/// upper case. `None` for half an encoding.
fn spelled_alike(path: &str) -> Option<String> {
    let mut spelled = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        spelled.push_str(before);
        let digits = after.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        let byte = u8::from_str_radix(digits, 16).ok()?;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            spelled.push(char::from(byte));
        } else {
            spelled.push('%');
            spelled.push_str(&digits.to_ascii_uppercase());
        }
        rest = &after[2..];
    }
    spelled.push_str(rest);
    Some(spelled)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://cart.example/items/a%20b";

    #[test]
    fn a_target_has_many_spellings() {
        for htu in [
            URL,
            "HTTPS://CART.example/items/a%20b",
            "https://cart.example:443/items/a%20b",
            "https://cart.example/items/a%20b?x=1#y",
            "https://cart.example/./other/../items/a%20b",
            "https://cart.example/%69tems/%61%20b",
        ] {
            assert!(is_same_target(htu, URL), "{htu}");
        }
        assert!(is_same_target("https://cart.example", "https://cart.example/?a"));
        assert!(is_same_target("https://cart.example/a%2fb", "https://cart.example/a%2Fb"));
    }

    #[test]
    fn another_target_is_another() {
        for htu in [
            "http://cart.example/items/a%20b",
            "https://cart.example:8443/items/a%20b",
            "https://cart.example.evil/items/a%20b",
            "https://evil@cart.example/items/a%20b",
            "https://cart.example/items/a%20b/",
            "https://cart.example/Items/a%20b",
            "https://cart.example/items/a b",
            "https://cart.example\\items\\a%20b",
            " https://cart.example/items/a%20b",
            "https://cart.example/items/a%2520b",
            "https://cart.example/items%2Fa%20b",
            "https://cart.example/items/a%20b%",
            "https://cart.example/items/a%20b%zz",
            "/items/a%20b",
            "cart.example/items/a%20b",
            "file:///items/a%20b",
            "",
        ] {
            assert!(!is_same_target(htu, URL), "{htu}");
        }
    }
}
