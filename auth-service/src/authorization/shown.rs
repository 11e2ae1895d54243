//! What a page shows of a client and its request, as a digest that comes back with the person's decision: a decision counts
//! for what was shown, and for nothing else. Rules only.

use crate::clients::Client;
use crate::codes::sha256;
use crate::scopes::Words;
use crate::storage::users::User;

/// What a client asks for, as a page shows it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The words of scope, those that cover single claims among them.
    pub words: &'a Words,
    /// The services that the tokens are for.
    pub audiences: &'a Words,
    /// Where the browser goes then; a device has none.
    pub redirect_uri: Option<&'a str>,
}

/// 43 characters. All that is registered of the client is in it, shown or not: whatever changes is shown anew.
pub fn digest(client: &Client, asked: Asked<'_>, user: &User) -> String {
    let client = (
        &client.id,
        client.created_at,
        client.epoch,
        &client.metadata,
        (client.first_party, client.approved, client.registered_itself()),
    );
    let asked = (asked.words, asked.audiences, asked.redirect_uri);
    let shown = serde_json::to_string(&(client, asked, user.id, &user.email));
    sha256(&shown.expect("plain values are written"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::clock::Timestamp;
    use shared::session::UserId;

    use super::*;
    use crate::clients::{FormerSecret, Metadata, Registrar};
    use crate::roles::Roles;

    fn metadata(changes: serde_json::Value) -> Metadata {
        let mut all = json!({"redirect_uris": ["https://shop.example/cb", "https://shop.example/other"],
                             "client_name": "Shop", "scope": "openid email", "policy_uri": "https://shop.example/p"});
        all.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        let serde_json::Value::Object(members) = all else { unreachable!() };
        Metadata::read(members, Registrar::Administrator).expect("good metadata")
    }

    fn user(id: u128) -> User {
        User {
            id: UserId(uuid::Uuid::from_u128(id)),
            email: format!("user{id}@example.com").parse().expect("an address"),
            display_name: "Ada".to_owned(),
            password_hash: String::new(),
            roles: Roles::user(),
            locked_at: None,
            version: 1,
            ended_version: 1,
            created_at: Timestamp::from_micros(0),
        }
    }

    fn client(changes: serde_json::Value) -> Client {
        Client {
            id: "shop".to_owned(),
            metadata: metadata(changes),
            secret_hash: None,
            former_secret: FormerSecret::default(),
            registration_token_hash: None,
            first_party: false,
            approved: true,
            epoch: 0,
            created_at: Timestamp::from_seconds(1),
            disabled_at: None,
        }
    }

    #[test]
    fn whatever_a_person_sees_is_in_the_digest() {
        let (words, audiences) = (Words::split("openid email"), Words::split("auth-service"));
        let asked = Asked { words: &words, audiences: &audiences, redirect_uri: Some("https://shop.example/cb") };
        let shown = digest(&client(json!({})), asked, &user(1));
        assert_eq!(shown.len(), 43);
        assert_eq!(shown, digest(&client(json!({})), asked, &user(1)), "the same is the same");
        for (what, changed) in [
            ("name", client(json!({"client_name": "Bank"}))),
            ("scope", client(json!({"scope": "openid email cart"}))),
            ("redirect URIs", client(json!({"redirect_uris": ["https://shop.example/cb"]}))),
            ("policy", client(json!({"policy_uri": "https://evil.example/p"}))),
            ("terms", client(json!({"tos_uri": "https://evil.example/t"}))),
            ("logo", client(json!({"logo_uri": "https://evil.example/l.png"}))),
            ("proof", client(json!({"token_endpoint_auth_method": "none"}))),
            ("standing", Client { approved: false, ..client(json!({})) }),
            ("epoch", Client { epoch: 1, ..client(json!({})) }),
            ("age", Client { created_at: Timestamp::from_seconds(2), ..client(json!({})) }),
        ] {
            assert_ne!(digest(&changed, asked, &user(1)), shown, "{what}");
        }
        let (more, fewer) = (Words::split("openid email cart"), Words::default());
        for (what, changed) in [
            ("words", Asked { words: &more, ..asked }),
            ("services", Asked { audiences: &fewer, ..asked }),
            ("address", Asked { redirect_uri: Some("https://shop.example/other"), ..asked }),
            ("no address", Asked { redirect_uri: None, ..asked }),
        ] {
            assert_ne!(digest(&client(json!({})), changed, &user(1)), shown, "{what}");
        }
        assert_ne!(digest(&client(json!({})), asked, &user(2)), shown, "account");
    }
}
