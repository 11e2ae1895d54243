//! Finishing a sign-in: the provider has sent the browser back with a code.

use actix_web::{HttpRequest, HttpResponse, web};

use super::query::Parameters;
use super::to_own_page;
use crate::arrival::before_an_effect;
use crate::authentication::{Refusal, set_with_answer};
use crate::problem::Problem;
use crate::ration::Ration;
use crate::relying_party::id_token::{self, Expected};
use crate::relying_party::mistake::Mistake;
use crate::relying_party::pending::PendingLogin;
use crate::relying_party::provider::{ProviderError, TokenResponse, plain};
use crate::relying_party::signed::Refused;
use crate::relying_party::state::State;
use crate::relying_party::tokens::Tokens;
use crate::relying_party::{Profile, RelyingParty, Visitor, state};
use crate::return_to::ReturnTo;

/// The codes of refusals: the person, or something else, has kept the sign-in from its end.
const CANCELLED: &str = "sign_in_cancelled";
const FAILED: &str = "sign_in_failed";

/// Checks `state` and `iss`, exchanges the code, checks the ID token, and keeps the tokens in the session cookie.
///
/// # Errors
/// 400 for an answer to no sign-in of this browser, or one that is refused; 503 while the provider is away, or where this service
/// is set up wrongly. Their pages lead to a new sign-in for the same place, but for the last.
pub(super) async fn finish(
    relying_party: web::Data<RelyingParty>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let query = Parameters::read(request.query_string().as_bytes())?;
    let State { id, place } = state::read(&relying_party.0.cookies, query.get("state").unwrap_or_default());
    let pending = relying_party.pending(&request, id);
    let place = pending.as_ref().map(PendingLogin::return_to).or(place).unwrap_or_default();
    let answered = match pending {
        Some(pending) => relying_party.take_answer(&request, &query, id, &pending).await,
        None => relying_party.take_stray(&request, &place).await,
    };
    answered.inspect_err(|problem| offer_another(&request, problem, &place))
}

/// The page of a refusal offers to sign in once more.
#[cfg(feature = "pages")]
fn offer_another(request: &HttpRequest, problem: &Problem, place: &ReturnTo) {
    use crate::pages::{Destination, NextStep, Page};

    let is_of_the_sign_in = matches!(problem.code(), FAILED | CANCELLED | "unavailable");
    let Some(page) = Page::of(request).filter(|_| is_of_the_sign_in) else { return };
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("return_to", place.as_str()).finish();
    let step = NextStep {
        language: page.language,
        says: None,
        action: page.texts().sign_in_again().to_owned(),
        to: Destination::link(format!("/login?{query}")),
        leads_to: None,
        warning: None,
    };
    step.note(request);
}

#[cfg(not(feature = "pages"))]
fn offer_another(_request: &HttpRequest, _problem: &Problem, _place: &ReturnTo) {}

impl RelyingParty {
    /// An answer to no sign-in that waits in this browser: a reload, or the back button, of a person who is signed in; or one that
    /// took too long, or was begun elsewhere.
    async fn take_stray(&self, request: &HttpRequest, place: &ReturnTo) -> Result<HttpResponse, Problem> {
        match self.visitor(request).await? {
            Visitor::SignedIn(_) => Ok(to_own_page(place).finish()),
            Visitor::Guest => Err(failed("the sign-in was begun in another browser, or took too long; begin it again")),
        }
    }

    async fn take_answer(
        &self,
        request: &HttpRequest,
        query: &Parameters,
        id: &str,
        pending: &PendingLogin,
    ) -> Result<HttpResponse, Problem> {
        // A code that is used a second time ends what it gave: the browser may have brought it to another replica meanwhile.
        before_an_effect()?;
        // A code counts once, and so does its sign-in: whatever comes of it.
        set_with_answer(request, self.0.cookies.forget_login(id))?;
        let code = self.read_answer(query).await?;
        let tokens = self.check(self.exchange(&code, &pending.verifier).await?, pending).await?;
        let cookie = self.0.cookies.keep_session(&tokens.to_bytes())?;
        Ok(to_own_page(&pending.return_to()).cookie(cookie).finish())
    }

    async fn exchange(&self, code: &str, verifier: &str) -> Result<TokenResponse, Problem> {
        match self.0.provider.exchange(code, verifier, &self.public("/callback")).await {
            Ok(response) => Ok(response),
            Err(ProviderError::Refused(error)) if error == "invalid_grant" => {
                Err(failed("the sign-in took too long; begin it again"))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn pending(&self, request: &HttpRequest, id: &str) -> Option<PendingLogin> {
        let kept = self.0.cookies.login(request.headers(), id)?;
        PendingLogin::read(&kept, self.clock().now())
    }

    /// The code, if this is the provider's own answer and a good one.
    async fn read_answer(&self, query: &Parameters) -> Result<String, Problem> {
        // Before everything else, errors too: who answers (RFC 9207, section 2.4).
        let told = query.get("iss");
        let must_tell = self.0.provider.metadata().await?.tells_issuer;
        if told.map_or(must_tell, |iss| iss != self.0.config.issuer) {
            leave_word("it names another issuer, or none");
            return Err(failed("the answer is not the sign-in service's"));
        }
        if let Some(error) = query.get("error") {
            let config = &self.0.config;
            if let Some(mistake) = Mistake::of_answer(&config.client_id, error, ("authorization_code", &config.scope)) {
                return Err(mistake.into());
            }
            leave_word(&plain(error));
            return Err(match error {
                "access_denied" => Problem::bad_request(CANCELLED, "the sign-in was cancelled"),
                "temporarily_unavailable" | "server_error" => {
                    Problem::unavailable("the sign-in service", "it says so in the browser")
                }
                _ => failed("the sign-in service refuses the sign-in"),
            });
        }
        query.get("code").map(str::to_owned).ok_or_else(|| failed("the answer has no code"))
    }

    /// The tokens, if each of them is good and all are of one user.
    async fn check(&self, response: TokenResponse, pending: &PendingLogin) -> Result<Tokens, Problem> {
        let Some(id_token) = response.id_token.clone() else {
            return Err(refused("the provider gave no ID token"));
        };
        let expected = Expected {
            issuer: &self.0.config.issuer,
            client_id: &self.0.config.client_id,
            nonce: Some(&pending.nonce),
            max_age: pending.max_age,
            access_token: &response.access_token,
            now: self.clock().now(),
        };
        let said = id_token::verify(&id_token, self.0.single_sign_on.keys(), &expected).await;
        let said = said.map_err(|why| self.refused_id_token(why))?;
        let principal = self.principal(&response.access_token).await;
        let principal = principal.map_err(|refusal| self.refused_access_token(refusal))?;
        if principal.user.to_string() != said.sub {
            return Err(refused("the ID token and the access token are of different users"));
        }
        let profile = match (said.name, said.email) {
            (None, None) => self.profile(&response.access_token, &said.sub).await,
            (name, email) => Profile::bounded(name, email),
        };
        Ok(Tokens::new(response, id_token, profile, principal.expires_at))
    }

    /// A wrong clock finds good ones too old, or of the future.
    fn refused_id_token(&self, why: Refused) -> Problem {
        let mistake = (why == Refused::Time).then(|| self.0.provider.mistake_in_clock()).flatten();
        mistake.map_or_else(|| refused(why), Problem::from)
    }

    fn refused_access_token(&self, refusal: Refusal) -> Problem {
        match self.mistake_in_token(&refusal) {
            Some(mistake) => mistake.into(),
            None if refusal.is_unavailable() => refusal.into(),
            None => refused(refusal),
        }
    }

    /// How to greet the user, asked of the provider where the ID token does not tell. Nobody is kept out for want of it.
    async fn profile(&self, access_token: &str, sub: &str) -> Profile {
        match self.0.provider.user_info(access_token).await {
            Ok(Some(info)) if info.sub == sub => Profile::bounded(info.name, info.email),
            Ok(_) => Profile::default(),
            Err(error) => {
                tracing::warn!(%error, "a user's name could not be asked for");
                Profile::default()
            }
        }
    }
}

/// Leaves in the log why a sign-in did not go on. Anybody can send an answer.
fn leave_word(why: &str) {
    static LINES: Ration = Ration::new();
    LINES.tell("an answer to a sign-in is refused", |left_out| {
        tracing::warn!(why, left_out, "an answer to a sign-in is refused");
    });
}

fn failed(detail: &str) -> Problem {
    Problem::bad_request(FAILED, detail)
}

fn refused(why: impl std::fmt::Display) -> Problem {
    leave_word(&why.to_string());
    failed("the sign-in service's answer is refused; begin the sign-in again")
}
