//! What an attempt to tell a client comes to, and when the next one is. Rules only.

use std::time::Duration;

use reqwest::StatusCode;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The client has confirmed it.
    Told,
    /// It does not want to be told any more.
    NotWanted,
    /// The client has looked at it and says no (OpenID Connect Back-Channel Logout 1.0, section 2.8): the same word again would
    /// be refused again. Why: a word of ours, never one of the client's.
    Refused(String),
    /// Why it failed, which may be otherwise the next time: a word of ours, never one of the client's.
    Failed(String),
}

impl Outcome {
    /// What a client's answer comes to. Of the refusals, those may be over the next time that speak of the moment, or of an
    /// address where nobody listens yet.
    pub(super) fn of(status: StatusCode) -> Self {
        let why = || format!("status {}", status.as_u16());
        match status.as_u16() {
            200..=299 => Self::Told,
            404 | 408 | 421 | 425 | 429 => Self::Failed(why()),
            400..=499 => Self::Refused(why()),
            _ => Self::Failed(why()),
        }
    }

    /// Why the client was not told; nothing where it was.
    pub(super) fn why(&self) -> &str {
        match self {
            Self::Told | Self::NotWanted => "",
            Self::Refused(why) | Self::Failed(why) => why,
        }
    }
}

/// What becomes of a delivery after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Done,
    /// Again after this pause.
    After(Duration),
    /// It waits for a person.
    Dead,
}

/// `attempts` counts the one that came to `outcome`; `jitter` is from 0 to 1.
pub(super) fn next(outcome: &Outcome, attempts: i64, most: u32, jitter: f64) -> Next {
    match outcome {
        Outcome::Told | Outcome::NotWanted => Next::Done,
        Outcome::Refused(_) => Next::Dead,
        Outcome::Failed(_) if attempts >= i64::from(most) => Next::Dead,
        Outcome::Failed(_) => Next::After(pause(attempts, jitter)),
    }
}

/// Doubles with each attempt, up to an hour; three quarters to five quarters of it, so that what failed together is not
/// tried again together.
fn pause(attempts: i64, jitter: f64) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0).min(20);
    FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE).mul_f64(0.75 + jitter.clamp(0.0, 1.0) / 2.0)
}

/// As the metric calls them.
pub(crate) const OUTCOMES: [&str; 5] = ["told", "not_wanted", "refused", "failed", "dead"];

pub(super) fn name(outcome: &Outcome, next: Next) -> &'static str {
    match (outcome, next) {
        (Outcome::Refused(_), _) => "refused",
        (_, Next::Dead) => "dead",
        (Outcome::Told, _) => "told",
        (Outcome::NotWanted, _) => "not_wanted",
        (Outcome::Failed(_), _) => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_tried_ever_more_rarely_and_not_for_ever() {
        let failed = Outcome::Failed("status 500".to_owned());
        let pause = |attempts, jitter| match next(&failed, attempts, 12, jitter) {
            Next::After(pause) => pause.as_millis(),
            other => panic!("{other:?}"),
        };
        assert_eq!([1, 2, 3, 11].map(|attempts| pause(attempts, 0.5)), [1000, 2000, 4000, 1_024_000]);
        assert_eq!((pause(1, 0.0), pause(1, 1.0)), (750, 1250));
        assert_eq!(next(&failed, 12, 12, 0.5), Next::Dead);
        assert_eq!(next(&failed, 1, 1, 0.5), Next::Dead);
        assert_eq!(next(&failed, i64::MAX - 1, u32::MAX, 0.5), Next::Dead);
        assert_eq!(next(&failed, 4_000_000_000, u32::MAX, 0.5), Next::After(Duration::from_secs(3600)));
        assert_eq!(next(&Outcome::Told, 12, 12, 0.5), Next::Done);
        assert_eq!(next(&Outcome::NotWanted, 1, 12, 0.5), Next::Done);
    }

    #[test]
    fn only_what_may_be_otherwise_the_next_time_is_tried_again() {
        let after = |status: u16| next(&Outcome::of(StatusCode::from_u16(status).expect("a status")), 1, 12, 0.5);
        assert_eq!([200, 204].map(after), [Next::Done; 2]);
        for refused in [400, 401, 403, 405, 406, 410, 411, 413, 415, 422, 431, 451] {
            assert_eq!(after(refused), Next::Dead, "{refused}");
        }
        for of_the_moment in [307, 404, 408, 421, 425, 429, 500, 501, 502, 503, 504, 599] {
            assert_eq!(after(of_the_moment), Next::After(Duration::from_secs(1)), "{of_the_moment}");
        }
    }

    #[test]
    fn every_outcome_has_a_name_in_the_metric() {
        let failed = Outcome::Failed(String::new());
        let names = [
            name(&Outcome::Told, Next::Done),
            name(&Outcome::NotWanted, Next::Done),
            name(&Outcome::Refused(String::new()), Next::Dead),
            name(&failed, Next::After(FIRST_PAUSE)),
            name(&failed, Next::Dead),
        ];
        assert_eq!(names, OUTCOMES);
    }
}
