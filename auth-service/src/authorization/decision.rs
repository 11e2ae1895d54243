//! What has to happen before a request can be answered. Rules only: who is signed in, what was asked, what was allowed.

use shared::clock::Timestamp;
use shared::session::UserId;

use super::request::AuthorizationRequest;
use crate::scopes::Words;

/// Who is signed in in the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedIn {
    pub user: UserId,
    pub auth_time: Timestamp,
}

/// What happened since the request arrived.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    pub started_at: Timestamp,
    pub has_selected_account: bool,
    pub has_consented: bool,
}

/// The next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Register,
    SignIn,
    /// Another account is signed in than the one that the request is about.
    SwitchAccount,
    SelectAccount,
    Consent,
    Answer,
}

impl Step {
    /// What a client that wanted no step is told (OpenID Connect Core, section 3.1.2.6).
    pub const fn refusal(self) -> &'static str {
        match self {
            Self::Register | Self::SignIn | Self::SwitchAccount => "login_required",
            Self::SelectAccount => "account_selection_required",
            Self::Consent => "consent_required",
            Self::Answer => "server_error",
        }
    }
}

/// What counts of that which the user has allowed the client before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before<'a> {
    /// It is one of the platform's own, which asks for nothing.
    Own,
    Allowed(&'a Words),
    /// Nothing: any program on the user's machine could say to be the client (RFC 8252, section 8.6).
    Unassured,
}

pub fn next(
    request: &AuthorizationRequest,
    progress: Progress,
    signed_in: Option<SignedIn>,
    before: Before<'_>,
) -> Step {
    let Some(signed_in) = signed_in else {
        return if request.prompt.create { Step::Register } else { Step::SignIn };
    };
    // First: a proof of the account that is signed in would change nothing.
    if request.is_about_another_than(signed_in.user) {
        return Step::SwitchAccount;
    }
    if !is_recent(request, progress, signed_in) {
        return Step::SignIn;
    }
    let signed_in_since = signed_in.auth_time >= progress.started_at;
    if request.prompt.select_account && !progress.has_selected_account && !signed_in_since {
        return Step::SelectAccount;
    }
    if needs_consent(request, before) && !progress.has_consented {
        return Step::Consent;
    }
    Step::Answer
}

/// A login that was asked for anew must be younger than the request; `max_age=0` asks the same.
fn is_recent(request: &AuthorizationRequest, progress: Progress, signed_in: SignedIn) -> bool {
    let signed_in_since = signed_in.auth_time >= progress.started_at;
    let young_enough = request
        .max_age
        .is_none_or(|max_age| signed_in_since || progress.started_at.since(signed_in.auth_time).as_secs() < max_age);
    young_enough && (signed_in_since || !request.prompt.login)
}

fn needs_consent(request: &AuthorizationRequest, before: Before<'_>) -> bool {
    match before {
        Before::Own => false,
        Before::Allowed(allowed) => request.prompt.consent || !request.asked().is_within(allowed),
        Before::Unassured => true,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::claims::RequestedClaims;
    use super::super::request::{Prompt, ResponseMode, ReturnAddress};
    use super::*;

    fn request(change: impl FnOnce(&mut AuthorizationRequest)) -> AuthorizationRequest {
        let to = ReturnAddress {
            client_id: "app".to_owned(),
            redirect_uri: "https://app.example/cb".to_owned(),
            mode: ResponseMode::Query,
            state: None,
        };
        let mut request = AuthorizationRequest {
            to,
            scope: Words::split("openid email"),
            audiences: Words::default(),
            code_challenge: None,
            nonce: None,
            prompt: Prompt::default(),
            max_age: None,
            login_hint: None,
            subject: None,
            subject_email: None,
            ui_locales: None,
            acr_values: Vec::new(),
            claims: Default::default(),
            dpop_jkt: None,
        };
        change(&mut request);
        request
    }

    const START: Timestamp = Timestamp::from_seconds(10_000);

    fn progress() -> Progress {
        Progress { started_at: START, has_selected_account: false, has_consented: false }
    }

    fn signed_in(seconds_ago: u64) -> Option<SignedIn> {
        let user = UserId(uuid::Uuid::from_u128(7));
        Some(SignedIn { user, auth_time: START - Duration::from_secs(seconds_ago) })
    }

    #[test]
    fn nobody_is_signed_in_and_so_signs_in() {
        assert_eq!(next(&request(|_| {}), progress(), None, Before::Own), Step::SignIn);
        assert_eq!(next(&request(|it| it.prompt.create = true), progress(), None, Before::Own), Step::Register);
    }

    #[test]
    fn one_of_the_platforms_own_is_answered_at_once() {
        assert_eq!(next(&request(|_| {}), progress(), signed_in(500), Before::Own), Step::Answer);
    }

    #[test]
    fn an_old_login_is_repeated_and_a_new_one_is_enough() {
        let old = request(|it| it.max_age = Some(60));
        assert_eq!(next(&old, progress(), signed_in(59), Before::Own), Step::Answer);
        assert_eq!(next(&old, progress(), signed_in(60), Before::Own), Step::SignIn);
        assert_eq!(next(&old, progress(), signed_in(0), Before::Own), Step::Answer);
        let anew = request(|it| it.prompt.login = true);
        assert_eq!(next(&anew, progress(), signed_in(1), Before::Own), Step::SignIn);
        assert_eq!(next(&anew, progress(), signed_in(0), Before::Own), Step::Answer);
        let at_once = request(|it| it.max_age = Some(0));
        assert_eq!(next(&at_once, progress(), signed_in(1), Before::Own), Step::SignIn);
    }

    #[test]
    fn another_account_than_the_one_it_is_about_is_never_asked_for_its_password() {
        let about = |number| {
            request(|it| {
                it.subject = Some(UserId(uuid::Uuid::from_u128(number)));
                it.prompt.login = true;
            })
        };
        for seconds in [0, 5] {
            assert_eq!(next(&about(8), progress(), signed_in(seconds), Before::Own), Step::SwitchAccount);
        }
        assert_eq!(next(&about(7), progress(), signed_in(0), Before::Own), Step::Answer);
        assert_eq!(next(&about(7), progress(), signed_in(5), Before::Own), Step::SignIn);
        assert_eq!(next(&about(8), progress(), None, Before::Own), Step::SignIn);
        assert_eq!(Step::SwitchAccount.refusal(), "login_required");
    }

    #[test]
    fn a_login_hint_decides_nothing() {
        let hinted = request(|it| it.login_hint = Some("other@example.com".to_owned()));
        assert_eq!(next(&hinted, progress(), signed_in(5), Before::Own), Step::Answer);
    }

    #[test]
    fn an_account_is_selected_once() {
        let select = request(|it| it.prompt.select_account = true);
        assert_eq!(next(&select, progress(), signed_in(5), Before::Own), Step::SelectAccount);
        let selected = Progress { has_selected_account: true, ..progress() };
        assert_eq!(next(&select, selected, signed_in(5), Before::Own), Step::Answer);
        assert_eq!(next(&select, progress(), signed_in(0), Before::Own), Step::Answer, "signing in selects too");
    }

    #[test]
    fn consent_is_asked_for_what_was_not_allowed_yet() {
        let step = |allowed: &str, change: fn(&mut AuthorizationRequest)| {
            next(&request(change), progress(), signed_in(5), Before::Allowed(&Words::split(allowed)))
        };
        assert_eq!(step("", |_| {}), Step::Consent);
        assert_eq!(step("openid", |_| {}), Step::Consent);
        assert_eq!(step("openid email profile", |_| {}), Step::Answer);
        assert_eq!(step("openid email", |it| it.prompt.consent = true), Step::Consent);
        assert_eq!(step("openid email", |it| it.scope = Words::split("openid offline_access")), Step::Consent);
        let consented = Progress { has_consented: true, ..progress() };
        let asked = request(|it| it.prompt.consent = true);
        assert_eq!(next(&asked, consented, signed_in(5), Before::Allowed(&Words::default())), Step::Answer);
    }
    #[test]
    fn a_claim_is_asked_for_as_the_scope_that_covers_it() {
        let asked = request(|it| {
            it.scope = Words::split("openid");
            it.claims = RequestedClaims::parse(r#"{"userinfo": {"email": null}}"#).expect("claims");
        });
        let step = |allowed: &str| next(&asked, progress(), signed_in(5), Before::Allowed(&Words::split(allowed)));
        assert_eq!(step("openid"), Step::Consent);
        assert_eq!(step("openid profile"), Step::Consent);
        assert_eq!(step("openid email"), Step::Answer);
    }

    #[test]
    fn a_client_that_anybody_could_be_asks_each_time() {
        let consented = Progress { has_consented: true, ..progress() };
        assert_eq!(next(&request(|_| {}), progress(), signed_in(5), Before::Unassured), Step::Consent);
        assert_eq!(next(&request(|_| {}), consented, signed_in(5), Before::Unassured), Step::Answer);
    }
}
