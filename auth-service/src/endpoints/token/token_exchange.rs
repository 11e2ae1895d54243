//! `grant_type=urn:ietf:params:oauth:grant-type:token-exchange` (RFC 8693): a service that was called by a user calls
//! another in the user's name, with a token that is for that one alone and that names who acts.

use std::sync::Arc;

use shared::session::Session;
use shared::token::{Actor, Subject, UserToken, VerifiedToken};

use super::super::shown_token::{self, Shown};
use super::TokenRequest;
use crate::authorization::request;
use crate::clients::Client;
use crate::issue::{self, ClientTokens, OnBehalf};
use crate::oauth_error::OAuthError;
use crate::scopes::Words;
use crate::small_values::Payer;
use crate::storage::users::User;

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

pub(super) async fn exchange(request: &TokenRequest<'_>) -> Result<ClientTokens, OAuthError> {
    let TokenRequest { service, client, form, .. } = request;
    if client.is_public() {
        return Err(OAuthError::new("unauthorized_client", "a public client cannot exchange tokens"));
    }
    refuse_other_kinds(request)?;
    let (subject, user, session) = subject_token(request).await?;
    let scope = scope(request, &subject)?;
    let audiences = request::read_audiences(form, &scope, &service.api_scopes, service.own_audience())?;
    let actor = actor(client, &subject)?;
    let bound_to = request.bind(None, Payer::User(user.id)).await?;
    let on_behalf =
        OnBehalf { client_id: &client.id, user: &user, session: &session, subject: &subject, actor, bound_to };
    Ok(issue::on_behalf(service, &on_behalf, &audiences, &scope)?)
}

/// Only access tokens are taken, and given; the one who acts is the client itself.
fn refuse_other_kinds(request: &TokenRequest<'_>) -> Result<(), OAuthError> {
    let form = request.form;
    if form.required("subject_token_type")? != ACCESS_TOKEN {
        return Err(OAuthError::invalid_request("the only subject_token_type is that of access tokens"));
    }
    if form.get("requested_token_type").is_some_and(|wanted| wanted != ACCESS_TOKEN) {
        return Err(OAuthError::invalid_request("the only requested_token_type is that of access tokens"));
    }
    if form.get("actor_token").is_some() {
        return Err(OAuthError::invalid_request("an actor_token is not taken: the one who acts is the client"));
    }
    Ok(())
}

/// The user's token, and whom it speaks for. A client's own stands for no user.
async fn subject_token(request: &TokenRequest<'_>) -> Result<(Arc<UserToken>, User, Session), OAuthError> {
    let TokenRequest { service, single_sign_on, client, form, .. } = request;
    match shown_token::read(service, single_sign_on, client, form.required("subject_token")?).await? {
        Some(Shown { token: VerifiedToken::User(token), speaks_for: Some((user, session)) }) => {
            Ok((token, user, session))
        }
        // One text for all reasons (RFC 8693, section 2.2.2).
        _ => Err(OAuthError::invalid_request(
            "the subject_token is not valid, has expired, was taken back, or is not for this client",
        )),
    }
}

/// The client acts now, before it whoever did; a chain that no service would read is not made longer.
fn actor(client: &Client, subject: &UserToken) -> Result<Actor, OAuthError> {
    let actor = Actor { sub: Subject::Client(client.id.clone()), act: subject.actor.clone().map(Box::new) };
    if actor.chain().count() > Actor::MOST {
        return Err(OAuthError::invalid_request("too many have acted one for the other"));
    }
    Ok(actor)
}

/// What was asked for, within what the client may exchange for, which is less than what its own users may give it; a
/// stranger's client also within what the user gave it.
fn scope(request: &TokenRequest<'_>, subject: &UserToken) -> Result<Words, OAuthError> {
    let client = &request.client;
    let exchanged = &client.metadata.token_exchange_scope;
    let may: Words = client.scope().iter().filter(|word| exchanged.contains(word)).map(String::as_str).collect();
    let mut may = may.within(&request.service.api_scopes.words());
    if !client.first_party {
        may = may.within(&subject.scope.iter().map(String::as_str).collect());
    }
    let scope = request.form.get("scope").map_or(may.clone(), Words::split);
    if scope.is_empty() || !scope.is_within(&may) {
        return Err(OAuthError::new("invalid_scope", "the scope is unknown, or wider than it may be"));
    }
    Ok(scope)
}
