//! Reading the key set over the network, again and again. Owns when and within which limits; never decides what a good
//! set is.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::header::{AGE, CACHE_CONTROL, DATE, HeaderMap};
use reqwest::{Client, StatusCode, redirect};
use url::Url;

use super::KeySet;
use crate::calls;
use crate::clock::{Clock, Timestamp};
use crate::clock_skew::Reading;

/// For one read, from the connection to the last byte.
const TIME_LIMIT: Duration = Duration::from_secs(5);
const MAX_BYTES: usize = 64 * 1024;
/// Between two reads that succeed; the answer's `max-age` may ask for less.
const LONGEST_FRESH: Duration = Duration::from_secs(300);
const SHORTEST_FRESH: Duration = Duration::from_secs(10);
/// While the issuer's clock seems to differ: the next answer tells whether it does.
const IN_DOUBT: Duration = Duration::from_secs(5);
/// The `Date` of an answer has whole seconds, and servers make it anew once or twice in each.
pub(crate) const UNIT_OF_DATE: Duration = Duration::from_secs(2);
/// After a first failure; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Without a key, no request can be answered: then at most so long.
const LONGEST_PAUSE_WITHOUT_KEYS: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

pub(super) async fn keep_fresh(keys: &KeySet, url: Url) {
    let mut source = Source { url, client: None };
    let mut pause = FIRST_PAUSE;
    let mut trouble = String::new();
    loop {
        let has_waiters = keys.has_waiters();
        let read = calls::task("read the key set", source.read(keys)).await;
        let outcome = if read.is_ok() { "read" } else { "failed" };
        metrics::counter!("roam_key_set_reads_total", "outcome" => outcome).increment(1);
        let wait = match read {
            Ok(fresh_for) => {
                if !trouble.is_empty() {
                    tracing::info!("the issuer's key set is read again");
                    trouble.clear();
                }
                pause = FIRST_PAUSE;
                if keys.skew().is_in_doubt() { fresh_for.min(IN_DOUBT) } else { fresh_for }
            }
            Err(error) => {
                let cause = format!("{error:#}");
                if cause != trouble {
                    tracing::warn!(
                        %cause,
                        "the issuer's key set cannot be read (ISSUER, ISSUER_INTERNAL_URL or JWKS_URL); the last good one stays, if any"
                    );
                    trouble = cause;
                }
                let longest = if keys.has_keys() { LONGEST_PAUSE } else { LONGEST_PAUSE_WITHOUT_KEYS };
                let wait = pause.min(longest);
                pause = (pause * 2).min(LONGEST_PAUSE);
                wait
            }
        };
        if has_waiters {
            keys.answer_waiters();
        }
        // What is asked for while a read is under way is answered by the next one: that one may have begun too early.
        tokio::select! {
            () = tokio::time::sleep(jittered(wait)) => {}
            () = keys.is_asked_for() => {}
        }
    }
}

struct Source {
    url: Url,
    client: Option<Client>,
}

impl Source {
    /// Reads the set once, and answers how long it may be taken for fresh.
    async fn read(&mut self, keys: &KeySet) -> anyhow::Result<Duration> {
        let client = match self.client.take() {
            Some(client) => client,
            None => client()?,
        };
        let client = self.client.insert(client);
        let request = client.get(self.url.clone()).build()?;
        let before = Clock::default().now();
        let answer = calls::send(client, request, self.url.path()).await.map_err(reqwest::Error::without_url)?;
        if let Some(other) = date(answer.headers()) {
            let reading = Reading { before, after: Clock::default().now(), other, unit: UNIT_OF_DATE };
            keys.skew().measured(reading.ahead());
        }
        ensure!(answer.status() == StatusCode::OK, "the issuer answers {}", answer.status().as_u16());
        let fresh_for = fresh_for(answer.headers());
        let body = read_body(answer).await?;
        keys.replace(&body).context("the key set is refused")?;
        Ok(fresh_for)
    }
}

/// For short questions to the issuer: never through a proxy of the environment, never by a redirect.
pub(crate) fn client() -> anyhow::Result<Client> {
    let client = Client::builder()
        .connect_timeout(TIME_LIMIT)
        .timeout(TIME_LIMIT)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(0)
        .build()?;
    Ok(client)
}

/// The whole body, within bounds.
pub(crate) async fn read_body(mut answer: reqwest::Response) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        ensure!(body.len() + chunk.len() <= MAX_BYTES, "the answer has more than {MAX_BYTES} bytes");
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// When the issuer made the answer (RFC 9110, section 6.6.1); none where a cache had kept it.
pub(crate) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    if headers.contains_key(AGE) {
        return None;
    }
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let since_epoch = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::default() + since_epoch)
}

fn fresh_for(headers: &HeaderMap) -> Duration {
    let directives = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let max_age = directives
        .flat_map(|text| text.split(','))
        .filter_map(|directive| directive.trim().split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("max-age"))
        .and_then(|(_, seconds)| seconds.trim_matches('"').parse().ok());
    max_age.map_or(LONGEST_FRESH, |seconds| Duration::from_secs(seconds).clamp(SHORTEST_FRESH, LONGEST_FRESH))
}

/// Up to a quarter less, at random: replicas that started together do not ask together.
pub(crate) fn jittered(wait: Duration) -> Duration {
    let mut random = [0];
    aws_lc_rs::rand::fill(&mut random).expect("the system gives random bytes");
    wait - wait * u32::from(random[0]) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_set_is_fresh_for_as_long_as_the_issuer_says_within_bounds() {
        for (header, seconds) in [
            ("public, max-age=60", 60),
            ("max-age=0", 10),
            ("MAX-AGE=\"30\"", 30),
            ("max-age=86400", 300),
            ("max-age=99999999999999999999", 300),
            ("max-age=-1", 300),
            ("no-store", 300),
            ("", 300),
        ] {
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, header.parse().expect("a header"))]);
            assert_eq!(fresh_for(&headers), Duration::from_secs(seconds), "{header}");
        }
        assert_eq!(fresh_for(&HeaderMap::new()), LONGEST_FRESH);
    }

    #[test]
    fn the_date_of_an_answer_is_read_unless_a_cache_had_kept_it() {
        let mut headers = HeaderMap::from_iter([(DATE, "Sun, 06 Nov 1994 08:49:37 GMT".parse().expect("a header"))]);
        assert_eq!(date(&headers), Some(Timestamp::from_seconds(784_111_777)));
        headers.insert(AGE, "3".parse().expect("a header"));
        assert_eq!(date(&headers), None);
        headers = HeaderMap::from_iter([(DATE, "yesterday".parse().expect("a header"))]);
        assert_eq!(date(&headers), None);
        assert_eq!(date(&HeaderMap::new()), None);
    }

    #[test]
    fn jitter_takes_at_most_a_quarter() {
        for _ in 0..1000 {
            let wait = jittered(LONGEST_FRESH);
            assert!(wait <= LONGEST_FRESH && wait >= LONGEST_FRESH * 3 / 4, "{wait:?}");
        }
    }
}
