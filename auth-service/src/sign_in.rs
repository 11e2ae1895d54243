//! A proof becomes a session: throttle, verify, create. Today's proof is a password.

use std::net::IpAddr;

use actix_web::cookie::Cookie;
use actix_web::http::StatusCode;
use actix_web::http::header::WWW_AUTHENTICATE;
use shared::problem::Problem;
use shared::request::Network;
use shared::session::{Attributes, Created, EndReason, NewSession, Session};
use shared::token::PLATFORM_CLIENT;

use crate::AuthService;
use crate::device::DeviceLabel;
use crate::email::Email;
use crate::end_session;
use crate::known_browser::KnownBrowser;
use crate::password::{Password, Verified};
use crate::storage::audit::{Act, Actor, By, Entry};
use crate::storage::users::{self, User};
use crate::throttle::{Attempted, TriedFrom};

/// Who says to be whom, from where.
#[derive(Debug)]
pub struct Attempt {
    pub email: Email,
    pub password: Password,
    pub device: DeviceLabel,
    pub address: Option<IpAddr>,
    /// What is known of the browser: it guesses at its own expense.
    pub browser: KnownBrowser,
}

/// Checks the password and begins a session, under an id that is new, with what it remembers beside the login.
///
/// An unknown address, a wrong password and a locked account give the same answer after the same work.
///
/// # Errors
/// 401 `invalid_credentials`; 429 beyond the attempts of the account or the address, for the right password too; 409
/// `session_limit_reached`; 503 when something needed does not answer.
pub async fn sign_in(
    service: &AuthService,
    attempt: &Attempt,
    remembers: impl IntoIterator<Item = (String, String)>,
) -> Result<(User, Session), Problem> {
    let user = prove(service, attempt).await?;
    let session = begin(service, &user, attempt, remembers).await?;
    Ok((user, session))
}

impl Attempt {
    /// The cookie by which the browser knows the account from now on.
    pub fn device_cookie(&self, service: &AuthService, user: &User) -> Cookie<'static> {
        self.browser.learns(service, user)
    }

    /// Nobody yet, from there.
    pub fn by(&self) -> By {
        By { actor: Actor::Anonymous, address: self.address.map(|address| address.to_string()) }
    }
}

/// Checks the password alone.
///
/// # Errors
/// As [`sign_in`], but for the session limit.
pub async fn prove(service: &AuthService, attempt: &Attempt) -> Result<User, Problem> {
    let by = attempt.by();
    let attempted = counted(service, attempt, &by).await?;
    match verify(service, attempt, &by).await {
        Ok(user) => {
            service.throttle.succeeded(&attempted).await?;
            Ok(user)
        }
        Err(problem) if problem.status().is_server_error() => {
            service.throttle.untried(&attempted).await?;
            Err(problem)
        }
        Err(problem) => Err(problem),
    }
}

async fn counted(service: &AuthService, attempt: &Attempt, by: &By) -> Result<Attempted, Problem> {
    let throttled = match service.throttle.attempt(&attempt.email, &tried_from(service, attempt).await?).await? {
        Ok(attempted) => return Ok(attempted),
        Err(throttled) => throttled,
    };
    count("throttled");
    if throttled.is_first {
        service.record(&Entry::refused(Act::LogIn, by, "throttled")).await?;
    }
    Err(throttled.into())
}

/// The browser's own counter where it knows the account, else that of its network.
async fn tried_from(service: &AuthService, attempt: &Attempt) -> Result<TriedFrom, Problem> {
    let user = match attempt.browser.is_unknown() {
        true => None,
        false => users::by_email(&service.database, &attempt.email).await?,
    };
    let known = user.and_then(|user| attempt.browser.of_account(&user));
    Ok(known.unwrap_or_else(|| TriedFrom::Network(Network::of(attempt.address))))
}

/// Begins a session for whoever has proved to be that user, with what the session remembers beside the login.
///
/// # Errors
/// As [`sign_in`].
pub async fn begin(
    service: &AuthService,
    user: &User,
    attempt: &Attempt,
    remembers: impl IntoIterator<Item = (String, String)>,
) -> Result<Session, Problem> {
    service.keys.know_the_time()?;
    let by = By { actor: Actor::User(user.id), ..attempt.by() };
    let mut attributes = end_session::at_version(user.version);
    attributes.extend(remembers);
    let session = create(service, user, attempt, attributes, &by).await?;
    if let Err(problem) = confirm(service, user, &session, &by).await {
        // Nobody has seen the session's tokens; but it must not stay in the list as if somebody had signed in.
        end_session::end(service, session.id, EndReason::AccountLocked, &by).await?;
        return Err(problem);
    }
    count("signed_in");
    Ok(session)
}

async fn verify(service: &AuthService, attempt: &Attempt, by: &By) -> Result<User, Problem> {
    let user = users::by_email(&service.database, &attempt.email).await?;
    let hash = user.as_ref().map(|user| user.password_hash.as_str());
    let verified = service.hasher.verify(attempt.password.clone(), hash).await?;
    let subject = user.as_ref().map(|user| user.id);
    let why = match (user, verified) {
        (None, _) => "unknown_account",
        (Some(_), Verified::Wrong) => "wrong_password",
        (Some(user), _) if user.locked_at.is_some() => "account_locked",
        (Some(user), Verified::Right) => return Ok(user),
        (Some(user), Verified::RightButOld) => {
            renew_hash(service, &user, &attempt.password).await;
            return Ok(user);
        }
    };
    count(why);
    service.record(&Entry { subject, ..Entry::refused(Act::LogIn, by, why) }).await?;
    Err(invalid_credentials())
}

/// Hashes the password again with today's parameters. If that fails, the next login tries again.
async fn renew_hash(service: &AuthService, user: &User, password: &Password) {
    let Ok(renewed) = service.hasher.hash(password.clone()).await else { return };
    if let Err(error) = users::renew_hash(&service.database, user.id, &user.password_hash, &renewed).await {
        tracing::warn!(%error, user = %user.id, "an old password hash was not renewed");
    }
}

async fn create(
    service: &AuthService,
    user: &User,
    attempt: &Attempt,
    attributes: Attributes,
    by: &By,
) -> Result<Session, Problem> {
    let new = NewSession {
        user: user.id,
        client: PLATFORM_CLIENT.to_owned(),
        roles: user.roles.to_vec(),
        amr: vec!["pwd".to_owned()],
        device: attempt.device.as_str().to_owned(),
        address: by.address.clone().unwrap_or_default(),
        attributes,
        idle: service.rules.idle_ttl,
        absolute: service.rules.absolute_ttl,
    };
    match service.sessions.create(new, service.rules.limit).await? {
        Created::Begun { session, ended } => {
            for id in ended {
                end_session::note_ended(service, user.id, id, EndReason::LimitReached, by).await;
            }
            Ok(session)
        }
        Created::LimitReached => {
            count("limit_reached");
            service.record(&Entry::refused(Act::LogIn, by, "limit_reached").subject(user.id)).await?;
            let detail = "this account has as many sessions as it may; end one elsewhere first";
            Err(Problem::conflict("session_limit_reached", detail))
        }
    }
}

/// Looks at the account once more, now that the session is there to be ended: a lock, a new password or other roles that
/// came after the first look have ended all sessions that they saw, and may have come before this one.
async fn confirm(service: &AuthService, user: &User, session: &Session, by: &By) -> Result<(), Problem> {
    let now = service.users.by_id(user.id).await?;
    if now.is_none_or(|now| now.version != user.version) {
        count("changed_meanwhile");
        return Err(invalid_credentials());
    }
    let detail = session.device.clone();
    service.record(&Entry::done(Act::LogIn, by).subject(user.id).session(session.id).detail(detail)).await
}

/// The session that was there has ended before the person had proved again who they are.
pub fn ended_meanwhile() -> Problem {
    invalid_credentials()
}

/// One answer for all three reasons, so that it tells nothing of which accounts there are.
fn invalid_credentials() -> Problem {
    let detail = "the email address or the password is wrong";
    Problem::new(StatusCode::UNAUTHORIZED, "invalid_credentials", detail)
        .header(WWW_AUTHENTICATE, "Bearer error=\"invalid_credentials\"")
}

fn count(outcome: &'static str) {
    metrics::counter!("roam_logins_total", "outcome" => outcome).increment(1);
}
