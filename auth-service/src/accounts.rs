//! Accounts: made, changed, locked. Every change is written together with its entry in the audit, and then ends the
//! sessions that it must end.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use actix_web::http::StatusCode;
use actix_web::http::header::WWW_AUTHENTICATE;
use serde::{Deserialize, Deserializer, Serialize, de};
use shared::authentication::{ConfirmedPrincipal, SessionCookie};
use shared::clock::Timestamp;
use shared::database::Transaction;
use shared::problem::Problem;
use shared::session::{EndReason, Session, UserId};
use utoipa::ToSchema;

use crate::AuthService;
use crate::config::FirstUser;
use crate::device::is_readable;
use crate::email::Email;
use crate::end_session::{self, Change};
use crate::joiners;
use crate::password::{NewPassword, Password, Verified};
use crate::roles::{ADMIN, Roles};
use crate::storage::audit::{self, Act, Actor, By, Entry};
use crate::storage::users::{self, User};
use crate::throttle::TriedFrom;

/// What the API shows of an account.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Profile {
    id: UserId,
    email: Email,
    display_name: String,
    roles: Roles,
    created_at: Timestamp,
}

impl Profile {
    pub fn of(user: &User) -> Self {
        Self {
            id: user.id,
            email: user.email.clone(),
            display_name: user.display_name.clone(),
            roles: user.roles.clone(),
            created_at: user.created_at,
        }
    }
}

/// How a user wants to be called: 1 to 64 characters without control and invisible ones, but for joiners that their script needs.
/// Each page escapes it.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, min_length = 1, max_length = 64, example = "Ada")]
pub struct DisplayName(String);

/// The text is no name to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 64 characters without control characters")]
pub struct InvalidDisplayName;

impl FromStr for DisplayName {
    type Err = InvalidDisplayName;

    fn from_str(text: &str) -> Result<Self, InvalidDisplayName> {
        let text = text.trim();
        let is_fine = |c: char| is_readable(c) || joiners::is_joiner(c);
        let good = (1..=64).contains(&text.chars().count()) && text.chars().all(is_fine) && joiners::are_in_place(text);
        good.then(|| Self(text.to_owned())).ok_or(InvalidDisplayName)
    }
}

impl fmt::Display for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for DisplayName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// An account that a start made.
#[derive(Debug, Clone)]
pub struct CreatedUser {
    pub email: Email,
    /// The password, where it was made up: show it once.
    pub made_up_password: Option<NewPassword>,
    pub roles: Roles,
}

/// A person registers.
///
/// Without a letter to the address, whether it has an account cannot be hidden from whoever registers it; so the
/// throttle bounds how many can be asked for.
///
/// # Errors
/// 409 `email_taken`; 429 beyond the registrations of the address; 503 when something needed does not answer.
pub async fn register(
    service: &AuthService,
    email: Email,
    password: NewPassword,
    display_name: Option<DisplayName>,
    address: Option<IpAddr>,
) -> Result<User, Problem> {
    let by = By { actor: Actor::Anonymous, address: address.map(|address| address.to_string()) };
    refuse_look_alike(&email)?;
    service.throttle.registration(address).await??;
    let name = display_name.map_or_else(|| email.local_part().to_owned(), |name| name.to_string());
    let created = create(service, Act::Register, email, password, name, Roles::user(), &by).await;
    if created.as_ref().is_err_and(|problem| problem.status().is_server_error()) {
        // For a want of ours: the network loses no registration by it.
        if let Err(error) = service.throttle.not_registered(address).await {
            tracing::warn!(%error, "a registration that failed stays counted");
        }
    }
    created?.ok_or_else(|| {
        let detail = "there is an account with this email address";
        Problem::conflict("email_taken", detail).at("/email", detail)
    })
}

fn refuse_look_alike(email: &Email) -> Result<(), Problem> {
    if !email.looks_like_another() {
        return Ok(());
    }
    let detail = "expected letters of one script before the @ and in each label after it, which look like no others";
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "look_alike", detail).at("/email", detail))
}

/// Makes an account; nothing when its address has one already.
///
/// # Errors
/// 422 `look_alike` for an address that could be taken for another; 503 when something needed does not answer.
pub async fn create(
    service: &AuthService,
    act: Act,
    email: Email,
    password: NewPassword,
    display_name: String,
    roles: Roles,
    by: &By,
) -> Result<Option<User>, Problem> {
    refuse_look_alike(&email)?;
    let password_hash = service.hasher.hash(password).await?;
    let now = service.clock.now();
    let user = User {
        id: UserId::random(),
        email,
        display_name,
        password_hash,
        roles,
        locked_at: None,
        version: 1,
        ended_version: 1,
        created_at: now,
    };
    let mut transaction = service.database.begin().await?;
    if !users::insert(&mut transaction, &user).await? {
        return Ok(None);
    }
    let entry = Entry::done(act, by).subject(user.id).detail(user.roles.to_string());
    audit::write_in(&mut transaction, now, &entry).await?;
    transaction.commit().await?;
    Ok(Some(user))
}

/// Makes the first accounts that are missing. Of several replicas that start at once, one makes each.
///
/// # Errors
/// Something needed does not answer.
pub async fn create_first(service: &AuthService, first: &[FirstUser]) -> anyhow::Result<Vec<CreatedUser>> {
    let mut created = Vec::new();
    for FirstUser { email, display_name, password, roles } in first {
        if roles.contains(ADMIN) && users::any_with_role(&service.database, ADMIN).await? {
            continue;
        }
        if let Some(taken) = users::by_email(&service.database, email).await? {
            if roles.contains(ADMIN) {
                tracing::warn!(user = %taken.id, "ADMIN_EMAIL has an account that is no administrator: `user set-roles` makes it one");
            }
            continue;
        }
        let made_up = password.is_none().then(NewPassword::make_up);
        let password = password.clone().or_else(|| made_up.clone()).unwrap_or_else(NewPassword::make_up);
        let (name, roles) = (display_name.clone(), roles.clone());
        let user = create(service, Act::CreateUser, email.clone(), password, name, roles, &By::SERVICE).await?;
        if let Some(user) = user {
            created.push(CreatedUser { email: user.email, made_up_password: made_up, roles: user.roles });
        }
    }
    Ok(created)
}

/// The account of a caller whose session is as current as the account: nothing that should have ended it has come since.
///
/// # Errors
/// 401 when it is not; 503 when the database does not answer.
pub async fn of_caller(service: &AuthService, caller: &ConfirmedPrincipal) -> Result<User, Problem> {
    let user = service.users.by_id(caller.principal.user).await?;
    let current = user.filter(|user| end_session::is_current(user, &caller.session));
    current.ok_or_else(|| {
        let detail = "the account has changed since this login; sign in again";
        Problem::new(StatusCode::UNAUTHORIZED, "invalid_token", detail)
            .header(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")
    })
}

/// An account whose user has set a new password in a session that goes on.
#[derive(Debug)]
pub struct PasswordSet {
    pub user: User,
    /// What opens that session from now on, where a cookie does: a copy of the one before opens it no more.
    pub secret: Option<String>,
}

/// Sets a new password, ends the user's other sessions, and answers the account as it is now. Attempts to name the current
/// password are counted for this session: a stranger, or the thief of another session, cannot keep the user from it.
///
/// # Errors
/// 403 `wrong_password`; 409 when the account changed meanwhile; 429; 503 when something needed does not answer.
pub async fn change_password(
    service: &AuthService,
    caller: &ConfirmedPrincipal,
    current: Password,
    new: NewPassword,
    address: Option<IpAddr>,
) -> Result<PasswordSet, Problem> {
    let user = of_caller(service, caller).await?;
    let by = By { actor: Actor::User(user.id), address: address.map(|address| address.to_string()) };
    set_own_password(service, user, &caller.session, current, new, &by).await
}

/// As [`change_password`], for a caller who is known to be that user in the session `here`, which goes on.
///
/// # Errors
/// As [`change_password`].
pub async fn set_own_password(
    service: &AuthService,
    user: User,
    here: &Session,
    current: Password,
    new: NewPassword,
    by: &By,
) -> Result<PasswordSet, Problem> {
    let keep = here.id;
    let attempted = service.throttle.attempt(&user.email, &TriedFrom::session(keep)).await??;
    let verified = match service.hasher.verify(current, Some(&user.password_hash)).await {
        Ok(verified) => verified,
        Err(busy) => {
            service.throttle.untried(&attempted).await?;
            return Err(busy.into());
        }
    };
    if verified == Verified::Wrong {
        let entry = Entry::refused(Act::ChangePassword, by, "wrong_password").subject(user.id).session(keep);
        service.record(&entry).await?;
        let detail = "this is not the current password";
        return Err(Problem::forbidden("wrong_password", detail).at("/current_password", detail));
    }
    service.throttle.succeeded(&attempted).await?;
    let hash = service.hasher.hash(new).await?;
    let mut transaction = service.database.begin().await?;
    if !users::set_password(&mut transaction, user.id, user.version, &hash).await? {
        return Err(Problem::conflict("account_changed", "the account was changed meanwhile; try again"));
    }
    let entry = Entry::done(Act::ChangePassword, by).subject(user.id).session(keep);
    audit::write_in(&mut transaction, service.clock.now(), &entry).await?;
    let user = User { version: user.version + 1, ..user };
    let (keep, reason) = (Some(keep), EndReason::PasswordChanged);
    let change = Change::announce(service, &mut transaction, user, keep, reason, by).await?;
    transaction.commit().await?;
    let (change, secret) = if here.has_cookie() {
        let (opened, secret) = SessionCookie::secret();
        (change.reopened(opened), Some(secret))
    } else {
        (change, None)
    };
    let (user, _) = change.end_outdated(service).await?;
    Ok(PasswordSet { user, secret })
}

/// A user wants to be called otherwise.
///
/// # Errors
/// 404; 429; 503 when something needed does not answer.
pub async fn rename(service: &AuthService, user: UserId, name: &DisplayName, by: &By) -> Result<User, Problem> {
    service.throttle.own_change(&user.0.to_string()).await??;
    let mut transaction = service.database.begin().await?;
    let renamed = users::set_display_name(&mut transaction, user, &name.0).await?;
    let renamed = renamed.ok_or_else(|| Problem::not_found("account"))?;
    audit::write_in(&mut transaction, service.clock.now(), &Entry::done(Act::Rename, by).subject(user)).await?;
    transaction.commit().await?;
    Ok(renamed)
}

/// Locks an account and ends its sessions. Again, it is no error: so a failure between the two can be repeated.
///
/// # Errors
/// 404; 409 for one's own account; 503 when something needed does not answer.
pub async fn lock(service: &AuthService, user: UserId, by: &By) -> Result<User, Problem> {
    refuse_own(user, by)?;
    let now = service.clock.now();
    let mut transaction = service.database.begin().await?;
    refuse_last_administrator(&mut transaction, user, by).await?;
    let locked = users::set_locked(&mut transaction, user, Some(now)).await?;
    let locked = locked.ok_or_else(|| Problem::not_found("account"))?;
    audit::write_in(&mut transaction, now, &Entry::done(Act::LockUser, by).subject(user)).await?;
    let change = Change::announce(service, &mut transaction, locked, None, EndReason::AccountLocked, by).await?;
    transaction.commit().await?;
    Ok(change.end_outdated(service).await?.0)
}

/// Unlocks an account. One that is not locked is no error.
///
/// # Errors
/// 404; 503 when something needed does not answer.
pub async fn unlock(service: &AuthService, user: UserId, by: &By) -> Result<User, Problem> {
    let mut transaction = service.database.begin().await?;
    let unlocked = users::set_locked(&mut transaction, user, None).await?;
    let unlocked = unlocked.ok_or_else(|| Problem::not_found("account"))?;
    audit::write_in(&mut transaction, service.clock.now(), &Entry::done(Act::UnlockUser, by).subject(user)).await?;
    transaction.commit().await?;
    Ok(unlocked)
}

/// Sets the roles and ends the user's sessions: a change of privilege needs a new login.
///
/// # Errors
/// 404; 409 when an administrator would take the role from themselves; 503 when something needed does not answer.
pub async fn set_roles(service: &AuthService, user: UserId, roles: &Roles, by: &By) -> Result<User, Problem> {
    if !roles.contains(ADMIN) {
        refuse_own(user, by)?;
    }
    let mut transaction = service.database.begin().await?;
    if !roles.contains(ADMIN) {
        refuse_last_administrator(&mut transaction, user, by).await?;
    }
    let changed = users::set_roles(&mut transaction, user, roles).await?;
    let changed = changed.ok_or_else(|| Problem::not_found("account"))?;
    let entry = Entry::done(Act::SetRoles, by).subject(user).detail(roles.to_string());
    audit::write_in(&mut transaction, service.clock.now(), &entry).await?;
    let change = Change::announce(service, &mut transaction, changed, None, EndReason::RolesChanged, by).await?;
    transaction.commit().await?;
    Ok(change.end_outdated(service).await?.0)
}

/// Somebody must remain who can undo it, also when two administrators lock each other at once. The command line always
/// can.
async fn refuse_last_administrator(transaction: &mut Transaction, user: UserId, by: &By) -> Result<(), Problem> {
    if by.actor == Actor::CommandLine {
        return Ok(());
    }
    let able = users::hold_unlocked_with_role(transaction, ADMIN).await?;
    let detail = "nobody else could administer any more; make another administrator first";
    if able == [user] { Err(Problem::conflict("last_administrator", detail)) } else { Ok(()) }
}

/// An administrator who locks themselves out could leave nobody to undo it.
fn refuse_own(user: UserId, by: &By) -> Result<(), Problem> {
    let own = by.actor == Actor::User(user);
    let refused = || Problem::conflict("own_account", "administrators do not do this to their own account");
    if own { Err(refused()) } else { Ok(()) }
}
