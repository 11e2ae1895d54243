//! The header of an access token (RFC 7515, section 4; RFC 9068, section 2.1). Rules only.

use serde::Deserialize;

use super::{Algorithm, is_key_id, read_object};

/// What a header says. It says nothing else: a member that could change how the token is read (`jku`, `jwk`, `x5u`,
/// `crit`, `zip`, `cty`, `b64`) is refused, as is every member not known and every member given twice.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    alg: String,
    typ: String,
    kid: String,
}

/// Which key a token says that it is signed with, and how. Only a claim, until the signature is verified.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: String,
}

impl Header {
    /// Reads the decoded header, or nothing where it is not that of an access token.
    pub(super) fn read(json: &[u8]) -> Option<Self> {
        let Members { alg, typ, kid } = read_object(json)?;
        let is_access_token = ["at+jwt", "application/at+jwt"].iter().any(|known| typ.eq_ignore_ascii_case(known));
        if !is_access_token || !is_key_id(&kid) {
            return None;
        }
        Some(Self { algorithm: Algorithm::from_name(&alg)?, key_id: kid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_tokens_header_is_read_whatever_the_case_of_its_type() {
        for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"] {
            let header = Header::read(format!(r#"{{"alg":"ES256","typ":"{typ}","kid":"k.1"}}"#).as_bytes());
            assert_eq!(header, Some(Header { algorithm: Algorithm::Es256, key_id: "k.1".to_owned() }), "{typ}");
        }
    }

    #[test]
    fn every_other_header_is_refused() {
        for json in [
            r#"{"alg":"ES256","typ":"JWT","kid":"k"}"#,
            r#"{"alg":"ES256","kid":"k"}"#,
            r#"{"alg":"ES256","typ":"at+jwt"}"#,
            r#"{"alg":"none","typ":"at+jwt","kid":"k"}"#,
            r#"{"alg":"HS256","typ":"at+jwt","kid":"k"}"#,
            r#"{"alg":["ES256"],"typ":"at+jwt","kid":"k"}"#,
            r#"{"alg":{"ES256":null},"typ":"at+jwt","kid":"k"}"#,
            r#"{"alg":"ES256","typ":"at+jwt","kid":null}"#,
            r#"{"alg":"ES256","typ":"at+jwt","kid":""}"#,
            r#"{"alg":"ES256","typ":"at+jwt","kid":"a/b"}"#,
            r#"{"alg":"ES256","alg":"EdDSA","typ":"at+jwt","kid":"k"}"#,
            r#"{"alg":"ES256","typ":"at+jwt","kid":"k","jku":"http://127.0.0.1/"}"#,
            r#"{"alg":"ES256","typ":"at+jwt","kid":"k","x":1}"#,
            r#"["ES256","at+jwt","k"]"#,
            r#"{"alg":"ES256","typ":"at+jwt","kid":"k"} {}"#,
            "",
        ] {
            assert_eq!(Header::read(json.as_bytes()), None, "{json}");
        }
    }
}
