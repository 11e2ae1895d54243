//! What else a browser keeps for a host: the cookies of other applications there, in whatever characters.

/// The header `Cookie` of a browser that has `own` among others' cookies, some in Latin-1 and some in UTF-8.
pub fn among_others(own: &str) -> Vec<u8> {
    let pairs: [&[u8]; 3] = [b"prefs=Jos\xe9", own.as_bytes(), b"city=K\xc3\xb6ln"];
    pairs.into_iter().filter(|pair| !pair.is_empty()).collect::<Vec<_>>().join(&b"; "[..])
}
