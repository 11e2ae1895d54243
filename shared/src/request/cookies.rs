//! The cookies of a request. Every reader of cookies reads them here: a browser sends along what other applications of the
//! host have set, in whatever characters.

use actix_web::http::header::{COOKIE, HeaderMap};

/// How many cookies of one name are looked at: a parent domain may have added some.
const TRIED: usize = 8;

/// The cookies as name and value, in the order of the request. Octets until they are looked at (RFC 6265, section 5.4): a pair
/// that is not ASCII cannot be ours, and is left out by itself.
pub fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let pairs = headers.get_all(COOKIE).flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(|pair| text(pair.trim_ascii())?.split_once('='))
}

/// The values of the cookies of that name, in the order of the request: at most eight.
pub fn cookies_named<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    all_cookies_named(headers, name).take(TRIED)
}

/// Whether there are more cookies of that name than [`cookies_named`] looks at.
pub fn has_more_cookies(headers: &HeaderMap, name: &str) -> bool {
    all_cookies_named(headers, name).nth(TRIED).is_some()
}

fn all_cookies_named<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    cookies(headers).filter(move |(found, _)| *found == name).map(|(_, value)| value)
}

fn text(pair: &[u8]) -> Option<&str> {
    let is_plain = pair.iter().all(|byte| matches!(byte, b' '..=b'~'));
    std::str::from_utf8(pair).ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn read(lines: &[&[u8]]) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).expect("octets that a header may have"));
        }
        cookies(&headers).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn a_pair_that_is_not_ascii_is_left_out_and_no_other() {
        let own = ("own".to_owned(), "1".to_owned());
        for foreign in [&b"prefs=Jos\xe9"[..], b"prefs=Jos\xc3\xa9", b"caf\xe9=1", b"x=\xff\xfe", b"x=a\tb", b"\xe9"] {
            let behind = [b"own=1; ", foreign].concat();
            let before = [foreign, b"; own=1"].concat();
            for lines in [vec![&behind[..]], vec![&before], vec![foreign, b"own=1"]] {
                assert_eq!(read(&lines), std::slice::from_ref(&own), "{}", foreign.escape_ascii());
            }
        }
    }

    #[test]
    fn pairs_come_in_the_order_of_the_request_and_what_is_no_pair_is_none() {
        let read = read(&[b"a=1;b=2 ;  a=; =; ;none; c==d", b"a=3"]);
        let read: Vec<_> = read.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(read, [("a", "1"), ("b", "2"), ("a", ""), ("", ""), ("c", "=d"), ("a", "3")]);
    }

    #[test]
    fn of_one_name_eight_are_looked_at_and_a_ninth_is_known_of() {
        let with = |count: usize| {
            let mut headers = HeaderMap::new();
            let line = vec!["a=1"; count].join("; b=2; ");
            headers.append(COOKIE, HeaderValue::from_str(&line).expect("a header"));
            (cookies_named(&headers, "a").count(), has_more_cookies(&headers, "a"))
        };
        assert_eq!([with(1), with(8), with(9)], [(1, false), (8, false), (8, true)]);
    }
}
