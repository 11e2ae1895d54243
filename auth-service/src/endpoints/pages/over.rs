//! What a person is told whose sign-in is over: why, and how to begin it again where they came from. No person is led there unasked:
//! it is a link, which names where it leads.

use actix_web::HttpRequest;
use shared::pages::{Destination, NextStep, Page};
use shared::problem::Problem;
use url::Url;

use super::texts::AuthTexts;
use crate::AuthService;
use crate::authorization::{Ended, Over, Refusal};
use crate::clients::{Client, place_of};
use crate::endpoints::authorize::refusal_at;

/// 400 `flow_over`. Its page leads back to the client, where that is known.
pub(in crate::endpoints) fn over(service: &AuthService, http: &HttpRequest, over: &Over) -> Problem {
    if let Some(step) = next_step(service, http, over) {
        step.note(http);
    }
    Problem::bad_request("flow_over", detail(over.why))
}

const fn detail(why: Ended) -> &'static str {
    match why {
        Ended::Unknown => "this sign-in is over, or was never begun; begin it again",
        Ended::Elsewhere => "this sign-in was begun in another browser; begin it again in this one",
        Ended::Late => "this sign-in took too long; begin it again",
        Ended::Answered => "this sign-in has been answered already; begin it again",
    }
}

fn next_step(service: &AuthService, http: &HttpRequest, over: &Over) -> Option<NextStep> {
    let page = Page::of(http)?;
    let page = if let Some(locales) = &over.ui_locales { page.preferring(locales) } else { page };
    let (client, t) = (over.client.as_ref()?, AuthTexts(page.language));
    let to = way_back(service, over, client)?;
    let (name, place) = (client.shown_name(), place_of(&Url::parse(&to.address).ok()?));
    Some(NextStep {
        language: page.language,
        says: Some(match over.why {
            Ended::Unknown => t.over_unknown(name),
            Ended::Elsewhere => t.over_elsewhere(name),
            Ended::Late => t.over_late(name),
            Ended::Answered => t.over_answered(name),
        }),
        action: t.back_to(name),
        to,
        leads_to: Some((t.consent_leads_to().to_owned(), place)),
        warning: (!client.approved).then(|| t.leave_warning().to_owned()),
    })
}

/// Where the client begins a sign-in, its home, or else the address that was to be answered, with the error.
fn way_back(service: &AuthService, over: &Over, client: &Client) -> Option<Destination> {
    if let Some(begins) = &client.metadata.initiate_login_uri {
        let mut address = begins.url().clone();
        address.query_pairs_mut().append_pair("iss", &service.issuer);
        return Some(Destination::link(address));
    }
    if let Some(home) = &client.metadata.client_uri {
        return Some(Destination::link(home.url().clone()));
    }
    let refusal = Refusal::new("login_required", detail(over.why));
    over.to.as_ref().map(|to| refusal_at(service, to, &refusal))
}
