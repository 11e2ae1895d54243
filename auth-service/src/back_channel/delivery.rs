//! Telling the clients: the task of each replica. A client has its own lane, so that a slow one holds up itself alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use shared::calls;
use tokio::task::{self, JoinSet};
use tokio::time::MissedTickBehavior;
use url::Url;

use super::logout_token::{LogoutClaims, TYP};
use super::schedule::{self, Next, Outcome};
use crate::AuthService;
use crate::clients::fetch::Reach;
use crate::clients::{Client, WebAddress};
use crate::signing_keys::SigningAlg;
use crate::storage::clients as registered;
use crate::storage::outbox::{self, Delivery};

/// How often is looked for what others have left, or what is due again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many calls are under way at once at this replica: of one client, and of all.
const LANE: usize = 4;
const ALL_LANES: usize = 128;
/// The same of clients that have registered themselves: however many there are and however slow they are, those of
/// administrators have the rest.
const OWN_CLAIM_LANE: usize = 2;
const ALL_OWN_CLAIM_LANES: usize = 32;
/// How much longer than a call a replica has a delivery for itself.
const LEASE_MARGIN: Duration = Duration::from_secs(15);

/// Calls under way.
#[derive(Default)]
struct Lanes {
    calls: JoinSet<()>,
    /// Whom each call tells, and whether that client has registered itself.
    told: HashMap<task::Id, (String, bool)>,
    /// The client that was told last.
    last: String,
}

impl Lanes {
    /// How many calls of a client may begin.
    fn free(&self, client: &str, own_claim: bool) -> usize {
        let (lane, lanes) = if own_claim { (OWN_CLAIM_LANE, ALL_OWN_CLAIM_LANES) } else { (LANE, ALL_LANES) };
        let of_client = self.told.values().filter(|(told, _)| told == client).count();
        let of_its_kind = self.told.values().filter(|(_, told)| *told || !own_claim).count();
        lane.saturating_sub(of_client).min(lanes.saturating_sub(of_its_kind))
    }

    /// Clients in the order of their ids, beginning after the one that was told last: where lanes are scarce, slow clients take
    /// turns with the others.
    fn in_turn(&self, mut clients: Vec<(String, bool)>) -> Vec<(String, bool)> {
        let next = clients.iter().position(|(client, _)| *client > self.last).unwrap_or_default();
        clients.rotate_left(next);
        clients
    }

    fn begin(&mut self, client: String, own_claim: bool, call: impl Future<Output = ()> + Send + 'static) {
        self.last.clone_from(&client);
        let id = self.calls.spawn(call).id();
        self.told.insert(id, (client, own_claim));
    }

    /// Waits for a call to end, and clears away all that have.
    async fn one_ended(&mut self) {
        let mut ended = self.calls.join_next_with_id().await;
        while let Some(call) = ended {
            self.told.remove(&call.map_or_else(|failed| failed.id(), |(id, ())| id));
            ended = self.calls.try_join_next_with_id();
        }
    }
}

/// Tells the clients what was left for them, for as long as the service runs.
pub(crate) async fn deliver(service: Arc<AuthService>) {
    let mut lanes = Lanes::default();
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => measure_queue(&service).await,
            () = service.back_channel.word.notified() => {}
            () = lanes.one_ended(), if !lanes.calls.is_empty() => {}
        }
        if let Err(error) = begin_what_is_due(&service, &mut lanes).await {
            tracing::warn!(%error, "clients are told of ended sessions later");
            tick.reset();
            tick.tick().await;
        }
    }
}

async fn measure_queue(service: &AuthService) {
    if let Ok(waiting) = outbox::count_waiting(&service.database).await {
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("roam_backchannel_logout_queue").set(waiting as f64);
    }
}

async fn begin_what_is_due(service: &Arc<AuthService>, lanes: &mut Lanes) -> Result<(), sqlx::Error> {
    let now = service.clock.now();
    let until = now + service.back_channel.rules.patience + LEASE_MARGIN;
    let to_tell = outbox::clients_to_tell(&service.database, now).await?;
    for (client, own_claim) in lanes.in_turn(to_tell.into_iter().collect()) {
        let free = lanes.free(&client, own_claim);
        if free == 0 {
            continue;
        }
        let claimed = outbox::claim(&service.database, &client, now, until, i64::try_from(free).unwrap_or(1)).await?;
        for delivery in claimed {
            let service = service.clone();
            let name = service.own_audience();
            let work = async move { calls::task("tell a client of a logout", attempt(&service, &delivery)).await };
            lanes.begin(client.clone(), own_claim, calls::in_service(name, work));
        }
    }
    Ok(())
}

async fn attempt(service: &AuthService, delivery: &Delivery) {
    let outcome = tell(service, delivery).await;
    let next = schedule::next(&outcome, delivery.attempts, service.back_channel.rules.attempts, random());
    metrics::counter!("roam_backchannel_logouts_total", "outcome" => schedule::name(&outcome, next)).increment(1);
    let why = outcome.why();
    let now = service.clock.now();
    let database = &service.database;
    let written = match next {
        Next::Done => outbox::remove(database, delivery).await,
        Next::After(pause) => {
            tracing::debug!(
                client = delivery.client_id,
                why,
                attempts = delivery.attempts,
                "a client was not told yet"
            );
            outbox::put_off(database, delivery, now + pause, None, why).await
        }
        Next::Dead => {
            tracing::warn!(client = delivery.client_id, delivery = %delivery.id, why, "a client could not be told of a logout");
            outbox::put_off(database, delivery, now, Some(now), why).await
        }
    };
    if let Err(error) = written {
        // Its lease ends, and it is tried again: a client may be told twice, never not at all.
        tracing::warn!(%error, delivery = %delivery.id, "what became of a logout token was not written down");
    }
    service.back_channel.tried.notify_waiters();
}

/// 0 to 1.
fn random() -> f64 {
    let mut bytes = [0; 2];
    rand::fill(&mut bytes).expect("the system gives random bytes");
    f64::from(u16::from_be_bytes(bytes)) / f64::from(u16::MAX)
}

/// Where to, and how it is signed: as the client has it now, or, when it is gone, had it then.
struct Address {
    uri: Url,
    alg: SigningAlg,
    own_claim: bool,
}

impl Address {
    fn of(client: &Client) -> Option<Self> {
        let uri = client.metadata.backchannel_logout_uri.as_ref().map(WebAddress::url)?.clone();
        let alg = client.metadata.id_token_signed_response_alg.into();
        Some(Self { uri, alg, own_claim: client.registered_itself() })
    }

    fn of_the_past(delivery: &Delivery) -> Option<Self> {
        let alg = match delivery.alg.as_str() {
            "EdDSA" => SigningAlg::EdDsa,
            "ES256" => SigningAlg::Es256,
            _ => SigningAlg::Rs256,
        };
        Some(Self { uri: Url::parse(&delivery.uri).ok()?, alg, own_claim: delivery.own_claim })
    }
}

async fn tell(service: &AuthService, delivery: &Delivery) -> Outcome {
    let address = match registered::by_id(&service.database, &delivery.client_id).await {
        Err(_) => return Outcome::Failed("database".to_owned()),
        Ok(Some(client)) => Address::of(&client),
        Ok(None) => Address::of_the_past(delivery),
    };
    let Some(Address { uri, alg, own_claim }) = address else { return Outcome::NotWanted };
    let (session, now) = (delivery.session.0, service.clock.now());
    let claims = LogoutClaims::new(&service.issuer, &delivery.client_id, delivery.user_id, session, now);
    let Ok(token) = service.keys.sign(TYP, alg, &claims) else { return Outcome::Failed("no signing key".to_owned()) };
    let reach = if own_claim { Reach::Public } else { Reach::Anywhere };
    let Ok(client) = service.fetch.caller(&uri, reach) else { return Outcome::Failed("address".to_owned()) };
    let request = client.post(uri).form(&[("logout_token", &token)]).timeout(service.back_channel.rules.patience);
    let Ok(request) = request.build() else { return Outcome::Failed("address".to_owned()) };
    let started = Instant::now();
    let answer = calls::send(client, request, "backchannel-logout").await;
    let label = if own_claim { "registered_itself".to_owned() } else { delivery.client_id.clone() };
    metrics::histogram!("roam_backchannel_logout_seconds", "client" => label).record(started.elapsed().as_secs_f64());
    match answer {
        Ok(answer) => Outcome::of(answer.status()),
        Err(error) if error.is_timeout() => Outcome::Failed("timeout".to_owned()),
        Err(error) if error.is_connect() => Outcome::Failed("connect".to_owned()),
        Err(_) => Outcome::Failed("transport".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_take_turns_whichever_was_told_last() {
        let clients = || ["a", "b", "c"].map(|id| (id.to_owned(), true)).to_vec();
        let order = |last: &str| {
            let lanes = Lanes { last: last.to_owned(), ..Lanes::default() };
            lanes.in_turn(clients()).into_iter().map(|(id, _)| id).collect::<String>()
        };
        assert_eq!([order(""), order("a"), order("b"), order("bb"), order("c")], ["abc", "bca", "cab", "cab", "abc"]);
        assert!(Lanes::default().in_turn(Vec::new()).is_empty());
    }
}
