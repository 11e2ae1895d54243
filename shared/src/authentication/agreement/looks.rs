//! When a service looks at how the platform is set up, and what it makes of the answers. Owns the two questions, to the
//! provider's metadata and to the store.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::header::{ACCEPT, CACHE_CONTROL};
use reqwest::{Client, StatusCode};
use serde_json::Value;
use url::Url;

use super::differences::Store;
use super::{AGREES, Agreement, DIFFERS, Here, UNKNOWN};
use crate::authentication::DenyListMode;
use crate::calls;
use crate::platform::{METADATA_MEMBER, Platform, StoreMark};
use crate::token::{direct_client, jittered, read_body};

/// Between two looks while all agrees.
const BETWEEN_LOOKS: Duration = Duration::from_secs(10);
/// Before a difference that is new is believed: a Redis that was emptied is marked again within a second, and of two replicas
/// of the auth service one may be restarted with another setting before the other.
const IN_DOUBT: Duration = Duration::from_secs(3);
/// While it differs, and while nothing is known; after a first failure it is shorter.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// How a service finds out whether it is set up as the platform is.
#[derive(Debug, Clone)]
pub struct PlatformCheck {
    /// Where the provider's metadata is read.
    pub metadata_url: Url,
    /// The store that this service reads; none where its strategy needs none.
    pub store: Option<StoreMark>,
    /// `JWT_DENY_LIST` here.
    pub deny_list: DenyListMode,
}

/// What one look has found.
enum Look {
    Agrees,
    Differs(Vec<String>),
    /// The platform says nothing of itself: one of an earlier release, or a provider of another make.
    Untold(String),
    /// One of the two does not answer.
    Unknown(String),
}

/// Compares for ever.
pub(in crate::authentication) async fn keep_comparing(agreement: Agreement, check: PlatformCheck, here: Here) {
    let mut comparing = Comparing { agreement, is_in_doubt: false, failures: 0 };
    let mut client = None;
    loop {
        let look = check.look(&here, &mut client).await;
        tokio::time::sleep(jittered(comparing.take(look))).await;
    }
}

impl PlatformCheck {
    async fn look(&self, here: &Here, client: &mut Option<Client>) -> Look {
        let told = match self.ask(client).await {
            Ok(told) => told,
            Err(error) => {
                let url = &self.metadata_url;
                return Look::Unknown(format!(
                    "the auth service's metadata at {url} (ISSUER_INTERNAL_URL, JWKS_URL or ISSUER) cannot be read: {error:#}"
                ));
            }
        };
        let (issuer, platform) = match told {
            Ok(told) => told,
            Err(why) => return Look::Untold(why),
        };
        let store = match &self.store {
            None => Store::None,
            Some(store) => store.read().await.map_or_else(|error| Store::Away(error.to_string()), Store::There),
        };
        let differences = here.differences(&issuer, &platform, &store);
        match store {
            _ if !differences.is_empty() => Look::Differs(differences),
            Store::Away(why) => Look::Unknown(format!(
                "whether REDIS_URL leads to the auth service's store is not known (the key roam:platform there): {why}"
            )),
            Store::None | Store::There(_) => Look::Agrees,
        }
    }

    /// The issuer, and how the platform is set up; or why it does not say so.
    async fn ask(&self, client: &mut Option<Client>) -> anyhow::Result<Result<(String, Platform), String>> {
        let client = match client {
            Some(client) => client,
            None => client.insert(direct_client()?),
        };
        let request = client.get(self.metadata_url.clone()).header(ACCEPT, "application/json");
        // What a cache had kept would be of before a change.
        let request = request.header(CACHE_CONTROL, "no-cache").build()?;
        let answer = calls::send(client, request, self.metadata_url.path()).await;
        let answer = answer.map_err(reqwest::Error::without_url)?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(Err(format!("there is no metadata at {}", self.metadata_url)));
        }
        ensure!(answer.status() == StatusCode::OK, "it answers {}", answer.status().as_u16());
        let mut metadata: Value = serde_json::from_slice(&read_body(answer).await?).context("it is no JSON")?;
        let issuer = metadata["issuer"].as_str().unwrap_or_default().to_owned();
        Ok(match serde_json::from_value(metadata[METADATA_MEMBER].take()) {
            Ok(platform) => Ok((issuer, platform)),
            Err(_) => {
                Err(format!("the metadata at {} has no member {METADATA_MEMBER} of this release", self.metadata_url))
            }
        })
    }
}

/// What is made of one look after the other.
struct Comparing {
    agreement: Agreement,
    /// The last look has found a difference where there had been none.
    is_in_doubt: bool,
    failures: u32,
}

impl Comparing {
    /// Takes in a look, and answers how long to wait for the next.
    fn take(&mut self, look: Look) -> Duration {
        let is_agreed = self.agreement.check().is_ok();
        let was_in_doubt = std::mem::take(&mut self.is_in_doubt);
        let failures = std::mem::take(&mut self.failures);
        match look {
            Look::Agrees => {
                if self.agreement.differs() {
                    tracing::info!("this service is set up as the platform is again");
                }
                self.agreement.set(AGREES, Vec::new());
                BETWEEN_LOOKS
            }
            Look::Differs(_) if is_agreed && !was_in_doubt => {
                self.is_in_doubt = true;
                IN_DOUBT
            }
            Look::Differs(differences) => {
                if self.agreement.set(DIFFERS, differences.clone()) {
                    for difference in differences {
                        tracing::error!(difference, "this service is not set up as the platform is: it lets nobody in");
                    }
                }
                LONGEST_PAUSE
            }
            // A platform that has told before is being rolled back or forth: what it told counts.
            Look::Untold(_) if is_agreed || self.agreement.differs() => BETWEEN_LOOKS,
            Look::Untold(why) => {
                tracing::warn!(
                    why,
                    "the platform does not say how it is set up: REDIS_URL, SESSION_STRATEGY and ACCESS_TOKEN_TTL are not compared"
                );
                self.agreement.set(AGREES, Vec::new());
                BETWEEN_LOOKS
            }
            // What was found last stays: the auth service or Redis may be away, and this service goes on.
            Look::Unknown(_) if is_agreed || self.agreement.differs() => {
                self.is_in_doubt = was_in_doubt;
                if was_in_doubt { IN_DOUBT } else { BETWEEN_LOOKS }
            }
            Look::Unknown(why) => {
                if self.agreement.set(UNKNOWN, vec![why.clone()]) && failures > 0 {
                    tracing::warn!(why, "whether this service is set up as the platform is cannot be told yet");
                }
                self.failures = failures.saturating_add(1);
                FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::TokenError;

    fn comparing() -> Comparing {
        Comparing { agreement: Agreement::unknown(), is_in_doubt: false, failures: 0 }
    }

    fn differs() -> Look {
        Look::Differs(vec!["REDIS_URL leads elsewhere".to_owned()])
    }

    #[test]
    fn nobody_is_let_in_before_the_first_look_and_while_it_differs() {
        let mut comparing = comparing();
        assert_eq!(comparing.agreement.check(), Err(TokenError::RevocationsUnknown));
        comparing.take(Look::Unknown("the auth service is away".to_owned()));
        assert_eq!(comparing.agreement.check(), Err(TokenError::RevocationsUnknown));
        assert_eq!(comparing.agreement.missing(), ["the auth service is away"]);
        comparing.take(differs());
        assert_eq!(comparing.agreement.check(), Err(TokenError::Misconfigured), "a first difference counts at once");
        assert_eq!(comparing.agreement.missing(), ["REDIS_URL leads elsewhere"]);
        comparing.take(Look::Unknown("the auth service is away".to_owned()));
        assert_eq!(comparing.agreement.check(), Err(TokenError::Misconfigured), "nothing says that it was mended");
        comparing.take(Look::Agrees);
        assert_eq!((comparing.agreement.check(), comparing.agreement.missing()), (Ok(()), Vec::new()));
    }

    #[test]
    fn a_difference_that_is_over_at_the_next_look_refuses_nobody() {
        let mut comparing = comparing();
        comparing.take(Look::Agrees);
        assert_eq!(comparing.take(differs()), IN_DOUBT);
        assert_eq!(comparing.agreement.check(), Ok(()));
        comparing.take(Look::Agrees);
        comparing.take(differs());
        comparing.take(Look::Unknown("the auth service is away".to_owned()));
        assert_eq!(comparing.agreement.check(), Ok(()));
        comparing.take(differs());
        assert_eq!(comparing.agreement.check(), Err(TokenError::Misconfigured), "it was found twice");
    }

    #[test]
    fn what_is_away_later_changes_nothing() {
        let mut comparing = comparing();
        comparing.take(Look::Agrees);
        comparing.take(Look::Unknown("Redis is away".to_owned()));
        assert_eq!(comparing.agreement.check(), Ok(()));
    }

    #[test]
    fn a_platform_of_an_earlier_release_is_taken_and_does_not_undo_what_a_later_one_told() {
        let mut old = comparing();
        old.take(Look::Untold("no such member".to_owned()));
        assert_eq!(old.agreement.check(), Ok(()));
        let mut mixed = comparing();
        mixed.take(differs());
        mixed.take(Look::Untold("no such member".to_owned()));
        assert_eq!(mixed.agreement.check(), Err(TokenError::Misconfigured));
    }
}
