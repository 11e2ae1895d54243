//! An authenticated read of a cart, beside the same handler without authentication: what knowing the caller costs.

use anyhow::Context as _;
use e2e::probe;
use serde_json::{Value, json};

use super::{Bench, CLIENTS, Comparison, Listener, Target};
use crate::bench::SESSIONS_ON_REDIS;
use crate::bench::stage::{Person, Stage, Tokens, call};
use crate::measuring::load;
use crate::measuring::load::{Repeated, request};
use crate::measuring::machine::Cores;

/// How many revocations the cart service holds while it is measured.
const REVOCATIONS: u64 = 100_000;
const LINES: usize = 3;

pub(super) fn measure(
    bench: &Bench<'_>,
    stage: &mut Stage,
    auth: Listener,
    people: &[Person],
) -> anyhow::Result<Comparison> {
    let cart = stage.cart()?;
    let tokens = stage.sign_in(auth, people, CLIENTS / people.len())?;
    for tokens in &tokens[..people.len()] {
        fill_a_cart(cart, tokens)?;
    }
    let open = stage.cart_without_authentication(&tokens[0].user)?;
    bench.screen.step(&format!("announcing {REVOCATIONS} revocations"));
    revoke(stage, cart)?;

    let reads = tokens.iter().map(|tokens| request("GET", "/cart", &tokens.authorization(), None)).collect();
    let (mut reads, mut open_reads) = (load::Repeated(reads), Repeated(vec![request("GET", "/cart", "", None)]));
    bench.in_turns(
        ("GET /cart with an access token", "the same handler without authentication"),
        Target::Share(0.8),
        || bench.full_load(cart, CLIENTS, bench.plan.counted, &mut reads),
        || bench.full_load(open, CLIENTS, bench.plan.counted, &mut open_reads),
    )
}

fn fill_a_cart(cart: Listener, tokens: &Tokens) -> anyhow::Result<()> {
    let products = call(cart.port, "GET", "/products", None, None)?;
    let products = products["items"].as_array().context("the catalogue has items")?;
    for product in products.iter().take(LINES) {
        let item = json!({ "product_id": product["id"], "quantity": 2 });
        let after: Value = call(cart.port, "POST", "/cart/items", Some(tokens), Some(&item))?;
        anyhow::ensure!(after["lines"].is_array(), "a line was not added: {after}");
    }
    Ok(())
}

/// Announces revocations of sessions that nobody here uses, and waits until the cart service holds them.
fn revoke(stage: &Stage, cart: Listener) -> anyhow::Result<()> {
    let (redis, count) = (stage.redis.url(), REVOCATIONS.to_string());
    stage.instrument(Cores::Others, SESSIONS_ON_REDIS, &["revoke", &redis, &count])?;
    stage.wait("the cart service to hold the revocations", || {
        let metrics = probe::get(cart.port, "/metrics")?.body;
        let held = metrics.lines().find_map(|line| line.strip_prefix("roam_revocations_held ")?.parse::<f64>().ok());
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        Ok(held.is_some_and(|held| held >= REVOCATIONS as f64))
    })
}
