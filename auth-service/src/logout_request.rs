//! A request of an application's that its user be signed out (OpenID Connect RP-Initiated Logout 1.0): what it says, what has
//! to happen first, and where the browser goes then. Rules only.

use serde::{Deserialize, Serialize};
use shared::session::{SessionId, UserId};

use crate::authorization::request::LONGEST_STATE;
use crate::clients::Client;
use crate::form::Form;
use crate::id_token::Hint;

const LONGEST_LOCALES: usize = 100;

/// What an application asks for, as far as it may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogoutRequest {
    /// Who the application says was signed in, by an ID token of ours.
    vouched: Option<Vouched>,
    /// What it wants to be called; for the person who is asked.
    pub client_name: Option<String>,
    /// Which application it is: it may have changed or gone since.
    #[serde(default)]
    client_id: Option<String>,
    /// An address that is registered for the application.
    return_to: Option<String>,
    state: Option<String>,
    pub ui_locales: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Vouched {
    user: UserId,
    session: Option<SessionId>,
}

/// The next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The browser's session ends.
    End,
    /// The person says whether it does: anybody could have sent them here.
    Ask,
    /// Nobody is signed in in this browser.
    Leave,
}

/// Who sends the browser, by what it brought.
#[derive(Debug, Clone, Copy)]
pub enum Sender<'a> {
    /// An ID token that was issued to this client.
    Vouched(&'a Client, &'a Hint),
    /// Only says to be this client.
    Named(&'a Client),
    /// Nobody that is known, or an ID token that is none of ours.
    Unknown,
}

impl LogoutRequest {
    /// Reads a request. Without a client that is known, nobody can tell whether an address is its own: none is taken.
    ///
    /// # Errors
    /// What is wrong, in words for the person: nothing is ended, and the browser is sent nowhere.
    pub fn read(form: &Form, sender: Sender<'_>) -> Result<Self, &'static str> {
        let (client, vouched) = match sender {
            Sender::Vouched(client, hint) => {
                if form.get("client_id").is_some_and(|id| id != client.id) {
                    return Err("the id_token_hint was issued to another application (client_id)");
                }
                (Some(client), Some(Vouched { user: hint.user, session: hint.session }))
            }
            Sender::Named(client) => (Some(client), None),
            Sender::Unknown => (None, None),
        };
        let state = form.get("state");
        if state.is_some_and(|state| state.len() > LONGEST_STATE) {
            return Err("the state is too long: it has at most 4,096 bytes");
        }
        let return_to = match (form.get("post_logout_redirect_uri"), client) {
            (Some(asked), Some(client)) => {
                let registered = client.post_logout_redirect_uri(asked);
                Some(registered.ok_or("the address to return to (post_logout_redirect_uri) is not registered")?)
            }
            _ => None,
        };
        Ok(Self {
            vouched,
            client_name: client
                .map(|it| it.metadata.client_name.as_ref().map_or(&*it.id, |name| name.as_str()).to_owned()),
            client_id: client.map(|client| client.id.clone()),
            return_to: return_to.map(|uri| uri.as_str().to_owned()),
            state: state.map(str::to_owned),
            ui_locales: form.get("ui_locales").filter(|text| text.len() <= LONGEST_LOCALES).map(str::to_owned),
        })
    }

    /// Which application it is from, where that is known.
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// The same, as far as the application may ask for it by now: an address that is not registered any more is left out.
    pub fn left(mut self, client: Option<&Client>) -> Self {
        let is_registered = |uri: &String| client.is_some_and(|it| it.post_logout_redirect_uri(uri).is_some());
        self.return_to = self.return_to.filter(is_registered);
        self
    }

    /// Only the very session that the application was given an ID token in ends without a question.
    pub fn next(&self, signed_in: Option<(SessionId, UserId)>) -> Step {
        match (signed_in, self.vouched) {
            (None, _) => Step::Leave,
            (Some((session, user)), Some(vouched)) if vouched.session == Some(session) && vouched.user == user => {
                Step::End
            }
            (Some(_), _) => Step::Ask,
        }
    }

    /// Where the browser goes when all is done: back to the application, with what it wants to hear. `None`: to a page of
    /// this service, for an application that only says who it is is believed by a person alone.
    pub fn returns_to(&self, has_person_agreed: bool) -> Option<(&str, Option<&str>)> {
        let is_believed = self.vouched.is_some() || has_person_agreed;
        self.return_to.as_deref().filter(|_| is_believed).map(|uri| (uri, self.state.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clients::{FormerSecret, Metadata, Registrar};

    const HOME: &str = "https://shop.example/bye?a=b";

    fn client() -> Client {
        let members = json!({"redirect_uris": ["https://shop.example/cb"], "post_logout_redirect_uris": [HOME]});
        let serde_json::Value::Object(members) = members else { unreachable!() };
        Client {
            id: "shop".to_owned(),
            metadata: Metadata::read(members, Registrar::Administrator).expect("good metadata"),
            secret_hash: None,
            former_secret: FormerSecret::default(),
            registration_token_hash: None,
            first_party: false,
            approved: true,
            epoch: 0,
            created_at: shared::clock::Timestamp::from_seconds(1),
            disabled_at: None,
        }
    }

    fn form(pairs: &[(&str, &str)]) -> Form {
        let text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        Form::parse(text.as_bytes()).expect("a form")
    }

    fn hint() -> Hint {
        let user = UserId::random();
        Hint { user, session: Some(SessionId::random_for(user)), client_id: "shop".to_owned(), email: None }
    }

    #[test]
    fn only_the_session_of_the_id_token_ends_without_a_question() {
        let (client, hint) = (client(), hint());
        let session = hint.session.expect("a session");
        let vouched = LogoutRequest::read(&form(&[]), Sender::Vouched(&client, &hint)).expect("a request");
        assert_eq!(vouched.next(Some((session, hint.user))), Step::End);
        assert_eq!(vouched.next(Some((SessionId::random_for(hint.user), hint.user))), Step::Ask);
        assert_eq!(vouched.next(Some((session, UserId::random()))), Step::Ask);
        assert_eq!(vouched.next(None), Step::Leave);
        for sender in [Sender::Named(&client), Sender::Unknown] {
            let request = LogoutRequest::read(&form(&[]), sender).expect("a request");
            assert_eq!(request.next(Some((session, hint.user))), Step::Ask);
        }
        let without = Hint { session: None, ..hint.clone() };
        let vouched = LogoutRequest::read(&form(&[]), Sender::Vouched(&client, &without)).expect("a request");
        assert_eq!(vouched.next(Some((session, hint.user))), Step::Ask);
    }

    #[test]
    fn a_browser_returns_to_an_address_that_is_registered_and_to_no_other() {
        let (client, hint) = (client(), hint());
        let asked = form(&[("post_logout_redirect_uri", HOME), ("state", "a b")]);
        let vouched = LogoutRequest::read(&asked, Sender::Vouched(&client, &hint)).expect("a request");
        assert_eq!(vouched.returns_to(false), Some((HOME, Some("a b"))));
        let named = LogoutRequest::read(&asked, Sender::Named(&client)).expect("a request");
        assert_eq!((named.returns_to(false), named.returns_to(true)), (None, Some((HOME, Some("a b")))));
        let unknown = LogoutRequest::read(&asked, Sender::Unknown).expect("a request");
        assert_eq!(unknown.returns_to(true), None);
        for odd in ["https://shop.example/bye", "https://shop.example/bye?a=b&c=d", "https://evil.example/", "//x"] {
            let asked = form(&[("post_logout_redirect_uri", odd)]);
            assert!(LogoutRequest::read(&asked, Sender::Vouched(&client, &hint)).is_err(), "{odd}");
            assert!(LogoutRequest::read(&asked, Sender::Named(&client)).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_browser_returns_to_no_address_that_is_registered_no_more() {
        let (mut client, hint) = (client(), hint());
        let asked = form(&[("post_logout_redirect_uri", HOME)]);
        let request = LogoutRequest::read(&asked, Sender::Vouched(&client, &hint)).expect("a request");
        assert_eq!(request.client_id(), Some("shop"));
        assert_eq!(request.clone().left(Some(&client)).returns_to(true), Some((HOME, None)));
        assert_eq!(request.clone().left(None).returns_to(true), None, "the application is gone");
        client.metadata.post_logout_redirect_uris.clear();
        assert_eq!(request.left(Some(&client)).returns_to(true), None);
    }

    #[test]
    fn what_contradicts_itself_or_is_too_long_is_refused() {
        let (client, hint) = (client(), hint());
        assert!(LogoutRequest::read(&form(&[("client_id", "other")]), Sender::Vouched(&client, &hint)).is_err());
        assert!(LogoutRequest::read(&form(&[("client_id", "shop")]), Sender::Vouched(&client, &hint)).is_ok());
        let of_length = |length: usize| {
            LogoutRequest::read(&form(&[("state", &"x".repeat(length))]), Sender::Vouched(&client, &hint))
        };
        assert!(of_length(4096).is_ok() && of_length(4097).is_err());
    }
}
