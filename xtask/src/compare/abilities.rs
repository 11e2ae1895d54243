//! What each strategy can do for those who look after sessions, tried at one node.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::services::Service;

use super::client::{Device, Person, can, length};
use super::figures::{Abilities, Declared};
use super::nodes::Nodes;
use super::redis::RedisWork;
use super::stage::{ADMIN_EMAIL, Stage};
use crate::measuring::call::Line;

/// For what should be seen at once, on a slow machine; and for what should not.
const PATIENCE: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(1)];
/// `MAX_SESSIONS_PER_USER` of the node that is tried.
pub(super) const LIMIT: &str = "2";

/// What a client of a strategy sends and gets.
pub(super) struct Tried {
    pub(super) abilities: Abilities,
    pub(super) credential_bytes: usize,
    pub(super) answer_head_bytes: usize,
    pub(super) round_trips: f64,
}

/// Reads of the cart, one after the other, for the round trips that each of them makes.
const READS: u32 = 200;

/// Tries all at the first node, which lets a user have [`LIMIT`] sessions at once.
///
/// # Errors
/// An answer is neither a success nor 409 `strategy_cannot`.
pub(super) fn measure(stage: &Stage, nodes: &Nodes, person: &Person, declared: Declared) -> anyhow::Result<Tried> {
    let auth = nodes.ports_of(Service::Auth)[0];
    let cart = nodes.ports_of(Service::Cart)[0];
    let sign_in = |person: &Person| person.sign_in(stage, auth, "10.251.0.1");
    let ends = |device: &Device, expected: bool| {
        let (began, [long, short]) = (Instant::now(), PATIENCE);
        while began.elapsed() < if expected { long } else { short } {
            if !device.is_served(stage, cart) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    };

    let (first, second) = (sign_in(person)?, sign_in(person)?);
    let answer = first.ask(stage, cart, Service::Cart, "GET", "/cart")?;
    let answer_head_bytes = answer.head.len();
    answer.success()?;
    let list = second.ask(stage, auth, Service::Auth, "GET", "/auth/sessions")?;
    let lists = can(&list).context("GET /auth/sessions")? && length(&list.body) == 2;
    let admin = Person { email: ADMIN_EMAIL.to_owned(), password: stage.admin_password.clone() };
    let online = sign_in(&admin)?.ask(stage, auth, Service::Auth, "GET", "/admin/sessions")?;
    let shows_who_is_online = can(&online).context("GET /admin/sessions")? && length(&online.body) > 0;
    let path = format!("/auth/sessions/{}", first.session);
    let kicked = second.ask(stage, auth, Service::Auth, "DELETE", &path)?;
    let kicks_one = can(&kicked).context("DELETE /auth/sessions/{id}")? && ends(&first, true);
    // The third ends the oldest of the two.
    let third = sign_in(person)?;
    let fourth = sign_in(person)?;
    let limits = ends(&second, declared.lists_sessions) && fourth.is_served(stage, cart);
    let all = fourth.ask(stage, auth, Service::Auth, "POST", "/auth/logout-all")?;
    let ends_all = can(&all).context("POST /auth/logout-all")? && ends(&third, true) && ends(&fourth, true);
    let round_trips = round_trips(stage, cart, &sign_in(person)?)?;
    let abilities = Abilities { lists, shows_who_is_online, kicks_one, ends_all, limits };
    Ok(Tried { abilities, credential_bytes: first.credential_line().len(), answer_head_bytes, round_trips })
}

/// Of Redis, for each read of the cart. Nobody else asks meanwhile.
fn round_trips(stage: &Stage, port: u16, device: &Device) -> anyhow::Result<f64> {
    let mut line = Line::open(port)?;
    let read = device.read_of_the_cart(stage);
    // The first one may do what is not due again.
    line.ask(&read)?.success()?;
    let before = RedisWork::of(&stage.redis)?.reads;
    for _ in 0..READS {
        line.ask(&read)?.success()?;
    }
    Ok((RedisWork::of(&stage.redis)?.reads - before) / f64::from(READS))
}
