//! Extractors for pages: who visits. Owns the way from the cookie to a principal, with the refresh on it; never decides
//! what a visitor may do.

use std::ops::Deref;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, LOCATION};
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use url::form_urlencoded;

use super::cookies::Presented;
use super::id_token::{self, CLOCK_SKEW, Expected};
use super::own_pages::{asks_for_a_change, place_of};
use super::provider::ProviderError;
use super::refreshing::Outcome;
use super::signed::Refused;
use super::tokens::Tokens;
use super::{Profile, RelyingParty};
use crate::arrival::before_a_note;
use crate::authentication::several_logins::{only_user, several_logins};
use crate::authentication::{Caller, Principal, cannot_tell, set_with_answer};
#[cfg(feature = "pages")]
use crate::pages::{Greeter, Visit};
use crate::problem::Problem;
use crate::ration::Ration;
use crate::session::Session;

/// An access token that is about to expire is renewed: what a page does with it takes a moment too.
const ABOUT_TO_EXPIRE: Duration = Duration::from_secs(10);

/// Somebody who signed in here, and whose session has not ended as far as this service knows.
///
/// By the session's cookie, a request that changes something is a page's of this service, or refused: 403 `cross_site`.
///
/// As an extractor, it sends whoever is not signed in to `/login`, by a 303 that comes back to the same page, where a
/// browser asks for a page; else it answers 401. 503 while it cannot be said who it is.
#[derive(Clone)]
pub struct SignedIn {
    principal: Principal,
    tokens: Tokens,
}

impl SignedIn {
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    pub fn profile(&self) -> &Profile {
        &self.tokens.profile
    }

    /// For calls to other services in the user's name. Good for some seconds at the least.
    pub fn access_token(&self) -> &str {
        &self.tokens.access_token
    }

    /// Shows on a page who is signed in, and lets its forms go on to the provider: the sign-out, and one that needs another
    /// sign-in first.
    #[cfg(feature = "pages")]
    pub fn greeted_on(&self, page: crate::pages::Page) -> crate::pages::Page {
        page.signed_in_as(self.profile().called()).form_leads_to_account()
    }

    pub(super) fn tokens(&self) -> &Tokens {
        &self.tokens
    }
}

impl std::fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SignedIn").field(&self.principal).finish()
    }
}

/// Whoever visits a page: guests too. As an extractor it answers 503 while it cannot be said who it is.
#[derive(Debug, Clone)]
pub enum Visitor {
    Guest,
    SignedIn(Box<SignedIn>),
}

impl Visitor {
    pub fn signed_in(&self) -> Option<&SignedIn> {
        match self {
            Self::Guest => None,
            Self::SignedIn(signed_in) => Some(signed_in),
        }
    }

    /// Shows on a page who is signed in, and lets its sign-out form go on to the provider.
    #[cfg(feature = "pages")]
    pub fn greeted_on(&self, page: crate::pages::Page) -> crate::pages::Page {
        match self {
            Self::Guest => page,
            Self::SignedIn(signed_in) => signed_in.greeted_on(page),
        }
    }

    /// As what the service's other endpoints know.
    pub fn caller(&self) -> Caller {
        self.signed_in().map_or(Caller::Guest, |signed_in| Caller::User(signed_in.principal.clone()))
    }
}

/// Somebody who signed in, whose session lives now, by the session store, and whose login is recent enough: for payment.
///
/// As an extractor it answers as [`SignedIn`], and sends whoever signed in too long ago to sign in again, and back.
#[derive(Debug, Clone)]
pub struct RecentlySignedIn {
    pub signed_in: SignedIn,
    pub session: Session,
}

impl Deref for RecentlySignedIn {
    type Target = SignedIn;

    fn deref(&self) -> &SignedIn {
        &self.signed_in
    }
}

impl RelyingParty {
    /// Who visits, by the session cookie. Touches the network only where the access token has to be renewed.
    pub(super) async fn visitor(&self, request: &HttpRequest) -> Result<Visitor, Problem> {
        let presented = self.0.cookies.session(request.headers());
        if presented.present && !self.may_speak_for(request) {
            static LINES: Ration = Ration::new();
            LINES.tell("a change by the session's cookie is refused", |left_out| {
                tracing::info!(
                    left_out,
                    "a change by the session's cookie is refused: no page of this service asks for it (PUBLIC_URL)"
                );
            });
            let detail = "a page of another origin asked for this; the session's cookie does not speak for it";
            return Err(Problem::forbidden("cross_site", detail));
        }
        let Some(tokens) = self.of_one_person(request, &presented)? else {
            // Not ours, of a key that is gone, or changed.
            if presented.present {
                set_with_answer(request, self.0.cookies.forget_session())?;
            }
            return Ok(Visitor::Guest);
        };
        if tokens.expires_at() > self.clock().now() + ABOUT_TO_EXPIRE {
            match self.principal(&tokens.access_token).await {
                Ok(principal) => return self.welcome(request, principal, tokens),
                Err(refusal) if refusal.is_revoked() => return self.farewell(request),
                Err(refusal) if refusal.is_unavailable() => return Err(refusal.into()),
                // Expired by its own word, or of a key that was withdrawn: another one may do.
                Err(_) => {}
            }
        }
        self.renew(request, tokens).await
    }

    /// Browsers send the cookie along with forms of every host of the same site, and of every port of localhost.
    fn may_speak_for(&self, request: &HttpRequest) -> bool {
        request.method().is_safe() || asks_for_a_change(request.headers(), &self.0.config.public_url)
    }

    /// The tokens of a request's cookies, where they are one person's.
    fn of_one_person(&self, request: &HttpRequest, presented: &Presented) -> Result<Option<Tokens>, Problem> {
        let several = || {
            #[cfg(feature = "pages")]
            Visit::Unknown.note(request);
            several_logins(request, &self.0.cookies.forget_session())
        };
        let found = presented.contents.iter().filter_map(|content| Tokens::read(content));
        let tokens = only_user(found, Tokens::user).map_err(|_| several())?;
        // Cookies beyond the number that is looked at could be anybody's.
        if tokens.is_some() && presented.has_more { Err(several()) } else { Ok(tokens) }
    }

    async fn renew(&self, request: &HttpRequest, tokens: Tokens) -> Result<Visitor, Problem> {
        // What would come of it could not be told: the refresh token is kept for later.
        self.0.single_sign_on.can_tell().map_err(cannot_tell)?;
        // Nor would it reach a browser that has gone on elsewhere: there it counts as theft.
        before_a_note()?;
        let Some(refresh_token) = tokens.refresh_token.clone() else { return self.farewell(request) };
        let refresh = self.clone().refresh(tokens.clone(), refresh_token.clone());
        let renewed = match self.0.refreshing.once(&refresh_token, refresh).await {
            Ok(renewed) => renewed,
            Err(ProviderError::Refused(error)) if error == "invalid_grant" => {
                return self.refused(request, &tokens).await;
            }
            Err(error) => return Err(error.into()),
        };
        match self.principal(&renewed.access_token).await {
            Ok(principal) => {
                // First: without the middleware the rotated token would be lost.
                set_with_answer(request, self.0.cookies.keep_session(&renewed.to_bytes())?)?;
                self.welcome(request, principal, renewed)
            }
            Err(refusal) if refusal.is_revoked() => self.farewell(request),
            Err(error) => Err(Problem::unavailable("the sign-in service", error)),
        }
    }

    async fn refresh(self, tokens: Tokens, refresh_token: String) -> Outcome {
        let response = self.0.provider.refresh(&refresh_token).await?;
        if let Some(id_token) = &response.id_token {
            let expected = Expected {
                issuer: &self.0.config.issuer,
                client_id: &self.0.config.client_id,
                nonce: None,
                max_age: None,
                access_token: &response.access_token,
                now: self.clock().now(),
            };
            let verified = id_token::verify(id_token, self.0.single_sign_on.keys(), &expected).await;
            verified.map_err(|why| {
                let mistake = (why == Refused::Time).then(|| self.0.provider.mistake_in_clock()).flatten();
                mistake
                    .map_or_else(|| ProviderError::Away(format!("its ID token is refused: {why}")), ProviderError::from)
            })?;
        }
        let verified = self.principal(&response.access_token).await;
        let expires_at = match verified {
            Ok(principal) => principal.expires_at,
            // The session ended meanwhile: whoever asks is told so.
            Err(refusal) if refusal.is_revoked() => self.clock().now(),
            Err(why) => {
                let mistake = self.mistake_in_token(&why).map(ProviderError::from);
                return Err(
                    mistake.unwrap_or_else(|| ProviderError::Away(format!("its access token is refused: {why}")))
                );
            }
        };
        Ok(tokens.renewed(response, expires_at))
    }

    /// The provider does not take the refresh token. If the session has ended, the cookie is worth nothing. If it lives,
    /// another request has renewed it, and the browser may have the new cookie already: that one must not be cleared.
    async fn refused(&self, request: &HttpRequest, tokens: &Tokens) -> Result<Visitor, Problem> {
        let Some(session) = tokens.session() else { return self.farewell(request) };
        match self.0.single_sign_on.has_ended(session).await {
            Ok(false) => Ok(Visitor::Guest),
            Ok(true) => self.farewell(request),
            Err(error) => Err(Problem::unavailable("the session store", error)),
        }
    }

    fn welcome(&self, request: &HttpRequest, principal: Principal, tokens: Tokens) -> Result<Visitor, Problem> {
        if self.0.logged_out.has(&principal) {
            return self.farewell(request);
        }
        #[cfg(feature = "pages")]
        Visit::SignedIn(tokens.profile.called()).note(request);
        Ok(Visitor::SignedIn(Box::new(SignedIn { principal, tokens })))
    }

    fn farewell(&self, request: &HttpRequest) -> Result<Visitor, Problem> {
        set_with_answer(request, self.0.cookies.forget_session())?;
        #[cfg(feature = "pages")]
        Visit::Guest.note(request);
        Ok(Visitor::Guest)
    }

    /// Who visits, as far as it can be said without a new cookie.
    #[cfg(feature = "pages")]
    async fn seen(&self, request: &HttpRequest) -> Visit {
        let presented = self.0.cookies.session(request.headers());
        let Ok(tokens) = self.of_one_person(request, &presented) else { return Visit::Unknown };
        let Some(tokens) = tokens else { return Visit::Guest };
        match self.principal(&tokens.access_token).await {
            Ok(principal) if !self.0.logged_out.has(&principal) => Visit::SignedIn(tokens.profile.called()),
            Ok(_) => Visit::Guest,
            Err(refusal) if refusal.is_revoked() => Visit::Guest,
            Err(_) => Visit::Unknown,
        }
    }

    /// To the sign-in and back again. 401 where nobody looks at a page.
    fn sign_in_needed(&self, request: &HttpRequest, max_age: Option<u64>) -> Problem {
        let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !accept.contains("text/html") {
            return Problem::new(StatusCode::UNAUTHORIZED, "authentication_required", "sign in at /login");
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("return_to", place_of(request, &self.0.config.public_url).as_str());
        if let Some(max_age) = max_age {
            query.append_pair("max_age", &max_age.to_string());
        }
        Problem::new(StatusCode::SEE_OTHER, "sign_in", "sign in first")
            .header(LOCATION, format!("/login?{}", query.finish()))
    }
}

/// How refusals of an `App` with a [`RelyingParty`] find out whom to greet.
#[cfg(feature = "pages")]
pub(super) fn greeter() -> Greeter {
    Greeter::new(|request| async move {
        match relying_party(&request) {
            Ok(relying_party) => relying_party.seen(&request).await,
            Err(_) => Visit::Unknown,
        }
    })
}

/// How recent a login the provider is asked for, in seconds (`max_age`). Whomever it lets pass must be recent here too, though
/// its clock is behind and `auth_time` is cut to a second: else the browser goes around in circles.
fn asked_of_the_provider(step_up_after: Duration) -> u64 {
    (step_up_after - CLOCK_SKEW.min(step_up_after / 2)).as_secs()
}

fn relying_party(request: &HttpRequest) -> Result<RelyingParty, Problem> {
    let found = request.app_data::<web::Data<RelyingParty>>();
    found.map(|found| found.as_ref().clone()).ok_or_else(|| Problem::internal("the App has no RelyingParty"))
}

async fn signed_in(relying_party: &RelyingParty, request: &HttpRequest) -> Result<SignedIn, Problem> {
    match relying_party.visitor(request).await? {
        Visitor::SignedIn(signed_in) => Ok(*signed_in),
        Visitor::Guest => Err(relying_party.sign_in_needed(request, None)),
    }
}

impl FromRequest for Visitor {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        async move { relying_party(&request)?.visitor(&request).await }.boxed_local()
    }
}

impl FromRequest for SignedIn {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        async move { signed_in(&relying_party(&request)?, &request).await }.boxed_local()
    }
}

impl FromRequest for RecentlySignedIn {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        async move {
            let relying_party = relying_party(&request)?;
            let signed_in = signed_in(&relying_party, &request).await?;
            let single_sign_on = &relying_party.0.single_sign_on;
            match single_sign_on.confirm(signed_in.principal()).await {
                Ok(session) => Ok(Self { signed_in, session }),
                Err(problem) if problem.code() == "insufficient_user_authentication" => {
                    let max_age = asked_of_the_provider(single_sign_on.step_up_after());
                    Err(relying_party.sign_in_needed(&request, Some(max_age)))
                }
                Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => {
                    relying_party.farewell(&request)?;
                    Err(relying_party.sign_in_needed(&request, None))
                }
                Err(problem) => Err(problem),
            }
        }
        .boxed_local()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_that_the_provider_takes_for_recent_is_recent_here_too() {
        let asked = |seconds| asked_of_the_provider(Duration::from_secs(seconds));
        assert_eq!([900, 60, 15, 1].map(asked), [870, 30, 7, 0]);
    }
}
