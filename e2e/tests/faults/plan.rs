//! What goes wrong, and when: all of it follows from a seed. Does nothing itself.

use std::fmt;
use std::time::Duration;

use e2e::{Replica, Service};

/// Numbers that follow from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 on, below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// So many times in a hundred.
    pub(crate) fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    fn between(&mut self, shortest: u64, longest: u64) -> Duration {
        Duration::from_millis(shortest + self.below(longest - shortest))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Redis,
    Postgres,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `SIGKILL`, and a new start after this time.
    Kill(Replica, Duration),
    /// `SIGTERM`, and a new start at once.
    Restart(Replica),
    /// `SIGSTOP` for this time.
    Pause(Replica, Duration),
    /// A store is killed, and starts again after this time.
    Kills(Store, Duration),
    /// A store is stopped as an operator does, and starts again after this time.
    Stops(Store, Duration),
    /// Redis is frozen for this time.
    Hangs(Duration),
    /// Every connection to a store breaks at once.
    Drops(Store),
}

impl Fault {
    /// The word by which a run leaves it out.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Kill(..) => "kill",
            Self::Restart(_) => "restart",
            Self::Pause(..) => "pause",
            Self::Kills(Store::Redis, _) | Self::Stops(Store::Redis, _) => "redis",
            Self::Kills(Store::Postgres, _) | Self::Stops(Store::Postgres, _) => "postgres",
            Self::Hangs(_) => "hang",
            Self::Drops(_) => "drop",
        }
    }

    /// How long it lasts, about.
    fn lasts(self) -> Duration {
        const START: Duration = Duration::from_secs(2);
        match self {
            Self::Kill(_, down) => down + START,
            Self::Restart(_) => START,
            Self::Kills(_, down) | Self::Stops(_, down) => down + Duration::from_secs(1),
            Self::Pause(_, span) | Self::Hangs(span) => span,
            Self::Drops(_) => Duration::ZERO,
        }
    }

    fn drawn(dice: &mut Dice) -> Self {
        let replica = Service::ALL[dice.below(3) as usize].replica(dice.below(2) as usize);
        let store = if dice.percent(50) { Store::Redis } else { Store::Postgres };
        let short = dice.between(300, 3_000);
        // Most pauses are those of a loaded machine, some longer than any client waits.
        let pause = if dice.percent(70) { dice.between(300, 4_000) } else { dice.between(8_000, 16_000) };
        match dice.below(100) {
            0..25 => Self::Kill(replica, short),
            25..35 => Self::Restart(replica),
            35..60 => Self::Pause(replica, pause),
            60..72 => Self::Kills(store, short),
            72..80 => Self::Stops(store, short),
            80..86 => Self::Hangs(short),
            _ => Self::Drops(store),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |replica: Replica| format!("{}-{}", replica.service.program(), replica.number + 1);
        match *self {
            Self::Kill(replica, down) => write!(f, "{} is killed, and away for {down:?}", name(replica)),
            Self::Restart(replica) => write!(f, "{} is restarted", name(replica)),
            Self::Pause(replica, span) => write!(f, "{} is paused for {span:?}", name(replica)),
            Self::Kills(store, down) => write!(f, "{store:?} is killed, and away for {down:?}"),
            Self::Stops(store, down) => write!(f, "{store:?} is stopped, and away for {down:?}"),
            Self::Hangs(span) => write!(f, "Redis hangs for {span:?}"),
            Self::Drops(store) => write!(f, "every connection to {store:?} breaks"),
        }
    }
}

/// A fault, and how long all is calm before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) calm: Duration,
    pub(crate) fault: Fault,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {:?}: {}", self.calm, self.fault)
    }
}

/// The faults of a run that lasts about `span`; those of the kinds `without` are left out, and the others stay as they are.
pub(crate) fn plan(seed: u64, span: Duration, without: &[String]) -> Vec<Planned> {
    let (mut dice, mut planned, mut passed) = (Dice::new(seed), Vec::new(), Duration::ZERO);
    loop {
        let next = Planned { calm: dice.between(500, 4_000), fault: Fault::drawn(&mut dice) };
        passed += next.calm + next.fault.lasts();
        if passed > span {
            return planned;
        }
        if !without.iter().any(|kind| kind == next.fault.kind()) {
            planned.push(next);
        }
    }
}

#[test]
fn a_plan_follows_from_its_seed_and_has_every_kind_of_fault() {
    let quarter = Duration::from_secs(900);
    let first = plan(7, quarter, &[]);
    assert_eq!(first, plan(7, quarter, &[]));
    assert_ne!(first, plan(8, quarter, &[]));
    for kind in ["kill", "restart", "pause", "redis", "postgres", "hang", "drop"] {
        assert!(first.iter().any(|planned| planned.fault.kind() == kind), "{kind} is missing");
        let without = plan(7, quarter, &[kind.to_owned()]);
        let rest: Vec<Planned> = first.iter().copied().filter(|planned| planned.fault.kind() != kind).collect();
        assert_eq!(without, rest);
    }
}
