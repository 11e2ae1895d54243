//! Random faults by a seed, while honest clients shop: what must hold, holds. `cargo xtask faults` runs it for a quarter of an
//! hour; among the other tests it runs for a minute.
//!
//! `ROAM_FAULTS_SEED`, `ROAM_FAULTS_SECONDS`, `ROAM_FAULTS_CLIENTS` and `ROAM_FAULTS_WITHOUT` (kinds of faults, with commas between)
//! change the run.

mod books;
mod clients;
mod ended;
mod flat;
mod plan;
mod proxy;
mod stage;
mod verdict;

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::servers::leave_out;
use e2e::world::{eventually, expect};
use e2e::{Look, Platform, Service};

use self::clients::{Client, Shared};
use self::ended::Ended;
use self::flat::Growth;
use self::plan::{Dice, plan};
use self::stage::Stage;
use self::verdict::{Invariant, Verdict};

const STOCK: i64 = 1_000_000;

struct Run {
    seed: u64,
    span: Duration,
    clients: u64,
    without: Vec<String>,
}

impl Run {
    fn from_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let number = |name: &str, default: u64| {
            variable(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: expected a number")))
        };
        let without = variable("ROAM_FAULTS_WITHOUT").unwrap_or_default();
        Self {
            seed: number("ROAM_FAULTS_SEED", 1),
            span: Duration::from_secs(number("ROAM_FAULTS_SECONDS", 60)),
            clients: number("ROAM_FAULTS_CLIENTS", 6),
            without: without.split(',').map(str::trim).filter(|kind| !kind.is_empty()).map(str::to_owned).collect(),
        }
    }
}

/// For the reader, who does not see the output of a test that passes.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn honest_clients_lose_nothing_whatever_goes_wrong() {
    if !cfg!(target_os = "linux") {
        return leave_out("memory and descriptors are read from /proc");
    }
    let run = Run::from_environment();
    let planned = plan(run.seed, run.span, &run.without);
    let Some(mut stage) = Stage::open().await else { return };
    say(&format!("faults by the seed {}, {} in {:?}:", run.seed, planned.len(), run.span));
    planned.iter().for_each(|planned| say(&format!("    {planned}")));

    let product = stocked(&stage.platform).await;
    let initial = stage.platform.sql(Service::Cart).execute("SELECT SUM(stock) FROM products").expect("the stock");
    let initial = initial[0].parse().expect("a number");
    let shared = Shared {
        product,
        verdict: Verdict::default(),
        ended: Ended::default(),
        stop: Arc::new(AtomicBool::new(false)),
        answered: Arc::new(AtomicUsize::new(0)),
    };
    let mut dice = Dice::new(run.seed);
    let mut clients = Vec::new();
    for _ in 0..run.clients {
        clients.push(Client::register(stage.platform.person(), shared.clone(), Dice::new(dice.next())).await);
    }
    let clients: Vec<_> = clients.into_iter().map(|client| tokio::spawn(client.run())).collect();
    let probes_stop = Arc::new(AtomicBool::new(false));
    let probes: Vec<_> = replicas(&stage.platform)
        .into_iter()
        .map(|replica| {
            let (nobody, verdict) = (stage.platform.person(), shared.verdict.clone());
            tokio::spawn(shared.ended.clone().try_at(replica, nobody, verdict, probes_stop.clone()))
        })
        .collect();

    let (started, mut growth, count) = (Instant::now(), Growth::default(), planned.len());
    for (number, planned) in planned.iter().enumerate() {
        calm(planned.calm, &mut growth, &mut stage.platform).await;
        let so_far = shared.answered.load(Ordering::Relaxed);
        let (passed, number) = (started.elapsed().as_secs(), number + 1);
        say(&format!("{passed:4} s, {number} of {count}: {} ({so_far} answers)", planned.fault));
        stage.suffer(planned.fault, &shared.ended).await;
    }
    calm(Duration::from_secs(5), &mut growth, &mut stage.platform).await;

    shared.stop.store(true, Ordering::Relaxed);
    let mut done = Vec::new();
    for client in clients {
        done.push(client.await.expect("no client panics"));
    }
    all_is_ready(&mut stage.platform, &shared.verdict).await;
    probes_stop.store(true, Ordering::Relaxed);
    for probe in probes {
        let left = probe.await.expect("no probe panics");
        shared
            .verdict
            .expect(Invariant::EndedSessions, left == 0, || format!("{left} were never refused at a replica"));
    }
    books::until_quiet(&stage.platform, &shared.verdict).await;
    books::judge(&stage.platform, initial, &done, &shared.verdict);
    let sizes = growth.judge(&shared.verdict);
    let output = stage.platform.output();
    for line in output.lines().filter(|line| line.contains("panicked at")) {
        shared.verdict.broken(Invariant::NoPanic, line);
    }
    for line in output.lines().filter(|line| line.contains("a request failed")) {
        shared.verdict.broken(Invariant::NoInternalError, line);
    }
    let orders: usize = done.iter().map(|client| client.orders.len()).sum();
    let answers = shared.answered.load(Ordering::Relaxed);
    say(&format!(
        "seed {}: {} faults in {:.0?}, {answers} answers, {orders} orders, {} sessions ended\n{sizes}{}",
        run.seed,
        planned.len(),
        started.elapsed(),
        shared.ended.count(),
        shared.verdict.report(),
    ));
    stage.platform.stop();
    stage.platform.assert_no_secret_in_output();
    assert!(orders > 0 && shared.ended.count() > 0, "nothing was tried");
    let broken = shared.verdict.broken_ones();
    assert!(
        broken.is_empty(),
        "broken: {}; repeat it with `cargo xtask faults --seed {} --seconds {}`",
        broken.join(", "),
        run.seed,
        run.span.as_secs()
    );
}

/// A product of which there is enough.
async fn stocked(platform: &Platform) -> String {
    let products = expect(200, platform.person().products().await).body;
    let product = products["items"][0]["id"].as_str().expect("a product").to_owned();
    platform.set_stock(&product, STOCK as u32);
    let person = platform.person();
    eventually(200, || async { person.get(&person.url(Service::Cart, &format!("/products/{product}"))).await.status })
        .await;
    product
}

/// Each replica's name and address, past the gateway.
fn replicas(platform: &Platform) -> Vec<(String, Service, String)> {
    let all = Service::ALL.into_iter().flat_map(|service| (0..2).map(move |number| service.replica(number)));
    all.map(|replica| {
        let name = format!("{}-{}", replica.service.program(), replica.number + 1);
        (name, replica.service, platform.replica(replica))
    })
    .collect()
}

async fn calm(span: Duration, growth: &mut Growth, platform: &mut Platform) {
    let started = Instant::now();
    while started.elapsed() < span {
        growth.look(platform);
        let left = span.saturating_sub(started.elapsed());
        tokio::time::sleep(left.min(Duration::from_secs(1))).await;
    }
}

async fn all_is_ready(platform: &mut Platform, verdict: &Verdict) {
    const PATIENCE: Duration = Duration::from_secs(30);
    let started = Instant::now();
    for replica in Service::ALL.into_iter().flat_map(|service| (0..2).map(move |number| service.replica(number))) {
        loop {
            let look = platform.look(replica);
            match look {
                Look::Ready => break,
                _ if started.elapsed() > PATIENCE => {
                    verdict.broken(Invariant::Progress, format!("{replica:?} is not ready again: {look:?}"));
                    break;
                }
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}
