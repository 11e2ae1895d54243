//! The whole refresh, beside a bare handler of the same process.

use anyhow::Context as _;

use super::{Bench, CLIENTS, Comparison, Listener, Target};
use crate::bench::stage::{Person, Stage};
use crate::measuring::load::{Conversation, Repeated, request};

pub(super) fn measure(
    bench: &Bench<'_>,
    stage: &Stage,
    auth: Listener,
    people: &[Person],
) -> anyhow::Result<Comparison> {
    let tokens = stage.sign_in(auth, people, CLIENTS / people.len())?;
    let mut refreshes = Refreshing(tokens.into_iter().map(|tokens| tokens.refresh).collect());
    let mut bare = Repeated(vec![request("GET", "/healthz", "", None)]);
    bench.in_turns(
        ("POST /auth/refresh", "GET /healthz of the same process"),
        Target::Share(0.2),
        || bench.full_load(auth, CLIENTS, bench.plan.counted, &mut refreshes),
        || bench.full_load(auth, CLIENTS, bench.plan.counted, &mut bare),
    )
}

/// Each client's newest refresh token: each refresh gives the next.
struct Refreshing(Vec<String>);

impl Conversation for Refreshing {
    fn ask(&mut self, client: usize, out: &mut Vec<u8>) {
        let body = format!(r#"{{"refresh_token":"{}"}}"#, self.0[client]);
        out.extend_from_slice(&request("POST", "/auth/refresh", "", Some(&body)));
    }

    fn hear(&mut self, client: usize, body: &[u8]) -> anyhow::Result<()> {
        let found = str::from_utf8(body).ok().and_then(|text| {
            let (_, rest) = text.split_once(r#""refresh_token":""#)?;
            rest.split('"').next()
        });
        let successor = found.context("the answer has no refresh token")?;
        anyhow::ensure!(successor != self.0[client], "the refresh token has no successor");
        successor.clone_into(&mut self.0[client]);
        Ok(())
    }
}
