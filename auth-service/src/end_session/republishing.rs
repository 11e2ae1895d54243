//! A store that outlives this process may still lose its memory: it is emptied, or comes back as it was an hour ago. The mark
//! in its feed tells; what SQL remembers beyond the mark is carried out again, and only then the feed is marked.

use futures_util::future::join_all;
use shared::clock::Timestamp;
use shared::problem::Problem;

use super::repeated::repeat;
use crate::AuthService;
use crate::storage::endings;

/// How many endings are read in one go, and how many are carried out at once.
const BATCH: i64 = 500;
const AT_ONCE: usize = 32;

/// Up to where this process has found the feed marked; none before the first look.
#[derive(Debug, Default)]
pub struct Marked(Option<i64>);

/// Looks at the mark of the feed, carries out again what the store has lost, and moves the mark on. Safe on several replicas.
///
/// # Errors
/// Something needed does not answer; the next call begins again.
pub async fn keep_published(service: &AuthService, marked: &mut Marked) -> Result<(), Problem> {
    let mut seen = service.sessions.feed_mark().await?;
    if seen.is_unneeded() {
        return Ok(());
    }
    if seen.through().is_none() {
        // What is lost again while it is restored has another mark than this, or none.
        service.sessions.mark_feed(&seen, -random_number()).await?;
        seen = service.sessions.feed_mark().await?;
    }
    let found = seen.through();
    let (_, settled) = endings::position(&service.database).await?;
    // A feed that lost all of its memory has lost the sessions too: what matters is what may still be shown without them.
    let window = service.clock.now() - service.remembers_announcements;
    let lost = match (found, marked.0) {
        (None, _) => Some((0, window)),
        (Some(number), None) => Some((number, service.remembers_endings_since())),
        (Some(number), Some(known)) if number < known => Some((number, service.remembers_endings_since())),
        (Some(_), Some(_)) => None,
    };
    if let Some((number, since)) = lost {
        let count = republish(service, number, since).await?;
        if count > 0 {
            tracing::warn!(count, mark = found, "the session store may have lost endings; they are announced again");
        }
    }
    if found.is_none_or(|number| number < settled) {
        service.sessions.mark_feed(&seen, settled).await?;
    }
    marked.0 = Some(found.unwrap_or(0).max(settled));
    Ok(())
}

/// From 1 to 2^32.
fn random_number() -> i64 {
    let mut bytes = [0; 4];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
    i64::from(u32::from_be_bytes(bytes)) + 1
}

async fn republish(service: &AuthService, mut number: i64, since: Timestamp) -> Result<usize, Problem> {
    let mut count = 0;
    loop {
        let (page, next) = endings::after(&service.database, number, since, BATCH).await?;
        for some in page.chunks(AT_ONCE) {
            for repeated in join_all(some.iter().map(|ending| repeat(service, ending))).await {
                repeated?;
            }
        }
        count += page.len();
        let Some(next) = next else { return Ok(count) };
        number = next;
    }
}
