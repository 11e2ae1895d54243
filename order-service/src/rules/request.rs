//! What a client may say of a new order. Never a price, a total, a status or a user: those are not the client's to say.

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::text::{CountryCode, Line, Paragraph};

/// A new order: what is in the cart, with an optional note and address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderRequest {
    /// For whoever packs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 500, pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$")]
    pub note: Option<Paragraph<500>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipping_address: Option<ShippingAddress>,
}

/// Where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShippingAddress {
    #[schema(value_type = String, min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f]+$")]
    pub name: Line<1, 200>,
    /// Street and number.
    #[schema(value_type = String, min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f]+$")]
    pub line1: Line<1, 200>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 200, pattern = r"^[^\x00-\x1f\x7f]*$")]
    pub line2: Option<Line<0, 200>>,
    #[schema(value_type = String, min_length = 1, max_length = 20, pattern = r"^[^\x00-\x1f\x7f]+$")]
    pub postal_code: Line<1, 20>,
    #[schema(value_type = String, min_length = 1, max_length = 100, pattern = r"^[^\x00-\x1f\x7f]+$")]
    pub city: Line<1, 100>,
    /// State or province.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 100, pattern = r"^[^\x00-\x1f\x7f]*$")]
    pub region: Option<Line<0, 100>>,
    /// ISO 3166-1 alpha-2.
    #[schema(value_type = String, min_length = 2, max_length = 2, pattern = "^[A-Z]{2}$", example = "DE")]
    pub country: CountryCode,
}

impl OrderRequest {
    /// SHA-256 of its one canonical form: two bodies that say the same have the same.
    pub fn hash(&self) -> Vec<u8> {
        let canonical = serde_json::to_vec(self).expect("a request is JSON");
        digest(&SHA256, &canonical).as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<OrderRequest, String> {
        serde_json::from_str(body).map_err(|error| error.to_string())
    }

    fn with_address(field: &str, value: &str) -> String {
        let mut address = serde_json::json!({
            "name": "Ada", "line1": "1 Main Street", "postal_code": "10115", "city": "Berlin", "country": "DE"
        });
        address[field] = serde_json::from_str(value).expect("JSON");
        serde_json::json!({ "shipping_address": address }).to_string()
    }

    #[test]
    fn a_request_may_say_nothing_a_note_or_an_address() {
        let full = with_address("region", "\"Brandenburg\"");
        let longest = serde_json::json!({ "note": "ü".repeat(500) }).to_string();
        for body in ["{}", r#"{"note":null}"#, r#"{"note":"two\nlines"}"#, r#"{"note":""}"#, &full, &longest] {
            assert!(read(body).is_ok(), "{body}: {:?}", read(body));
        }
    }

    #[test]
    fn a_request_says_nothing_else() {
        let long = serde_json::json!({ "note": "n".repeat(501) }).to_string();
        for body in [
            r#"{"price":1}"#,
            r#"{"total":{"amount":0,"currency":"EUR"}}"#,
            r#"{"status":"paid"}"#,
            r#"{"user_id":"00000000-0000-0000-0000-000000000000"}"#,
            r#"{"note":1}"#,
            r#"{"note":"\u0000"}"#,
            r#"{"note":"\u001b[2J"}"#,
            r#"{"note":"a","note":"b"}"#,
            r#"{"shipping_address":{}}"#,
            &long,
            &with_address("name", "\"\""),
            &with_address("name", "\"a\\nb\""),
            &with_address("country", "\"de\""),
            &with_address("country", "\"DEU\""),
            &with_address("planet", "\"Earth\""),
            &with_address("postal_code", "10115"),
        ] {
            assert!(read(body).is_err(), "{body} was taken");
        }
    }

    #[test]
    fn bodies_that_say_the_same_have_the_same_hash() {
        let hash = |body| read(body).expect("a request").hash();
        assert_eq!(hash("{}"), hash(r#"{ "note": null }"#));
        assert_ne!(hash("{}"), hash(r#"{"note":""}"#));
        assert_ne!(hash(r#"{"note":"a"}"#), hash(r#"{"note":"b"}"#));
    }
}
