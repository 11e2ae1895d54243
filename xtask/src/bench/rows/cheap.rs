//! A cheap request while logins take all that the machine has, beside the same on an idle machine: whether those who are
//! signed in notice.

use std::thread;
use std::time::Duration;

use anyhow::Context as _;

use super::{Bench, Comparison, Listener, Sample, Target, login};
use crate::bench::stage::{Person, Stage};
use crate::measuring::load::{self, Pace, Repeated, Window, request};
use crate::measuring::machine;

const CLIENTS: usize = 8;
/// 400 requests a second.
const INTERVAL: Duration = Duration::from_micros(2_500);
/// How long the logins go on before the cheap requests begin.
const LEAD: Duration = Duration::from_millis(500);

pub(super) fn measure(
    bench: &Bench<'_>,
    stage: &Stage,
    auth: Listener,
    people: &[Person],
) -> anyhow::Result<Comparison> {
    let tokens = stage.sign_in(auth, &people[..CLIENTS], 1)?;
    let asks: Vec<_> = tokens.iter().map(|tokens| request("GET", "/auth/me", &tokens.authorization(), None)).collect();
    let counted = bench.plan.counted_of_logins;
    let idle = || {
        let window = Window { clients: CLIENTS, pace: Pace::Open(INTERVAL), warm_up: bench.plan.warm_up, counted };
        let mut cpu = || machine::cpu_seconds(auth.pid);
        load::send(auth.port, window, &mut Repeated(asks.clone()), &mut cpu, bench.halt)
    };
    let beside_logins = || -> anyhow::Result<Sample> {
        thread::scope(|scope| {
            let flood = scope.spawn(|| {
                let mut logins = Repeated(people.iter().map(Person::login).collect());
                let longer = LEAD + bench.plan.warm_up + counted + LEAD;
                bench.full_load(auth, login::CLIENTS, longer, &mut logins)
            });
            thread::sleep(LEAD);
            let sample = idle();
            flood.join().ok().context("the thread with the logins panicked")??;
            // Both wear on the process: how much of its time was the cheap requests' is not known.
            sample.map(|sample| Sample { cpu_us: None, ..sample })
        })
    };
    let names = ("GET /auth/me while logins saturate the machine", "the same without logins");
    bench.in_turns(names, Target::TimesP99(4.0), beside_logins, idle)
}
