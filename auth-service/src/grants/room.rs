//! Which grants of a session make room for a new one: a client's own first, so that no client costs another its tokens.
//! Rules only.

use std::collections::BTreeMap;

use shared::clock::Timestamp;

use crate::storage::grants::GrantId;

/// How many grants a client has in a session at most.
pub const MOST_OF_CLIENT: usize = 16;
/// How many grants there are in a session at most, of all clients.
pub const MOST_OF_SESSION: usize = 128;

/// A grant that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held<'a> {
    pub id: GrantId,
    pub client: &'a str,
    /// When its refresh token was rotated, or else when it began.
    pub used_at: Timestamp,
}

/// The grants that make room, `newest` never among them. Beyond [`MOST_OF_CLIENT`] it is the client's own that was used longest
/// ago. Beyond [`MOST_OF_SESSION`], which takes many clients that a person has let in, it is one of the client that has the
/// most: a client loses its last only where each has one.
pub fn to_make(mut held: Vec<Held<'_>>, newest: GrantId) -> Vec<GrantId> {
    held.sort_unstable_by_key(|grant| (grant.used_at, grant.id));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for grant in &held {
        *counts.entry(grant.client).or_default() += 1;
    }
    let mut ended = Vec::new();
    while let Some(most) = counts.values().copied().max() {
        if most <= MOST_OF_CLIENT && held.len() <= MOST_OF_SESSION {
            break;
        }
        let has_most = |grant: &Held<'_>| counts.get(grant.client) == Some(&most) && grant.id != newest;
        let Some(place) = held.iter().position(has_most) else { break };
        let grant = held.remove(place);
        counts.entry(grant.client).and_modify(|count| *count -= 1);
        ended.push(grant.id);
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> GrantId {
        GrantId::from(number as u128)
    }

    fn held(clients: &[&'static str]) -> Vec<Held<'static>> {
        let grant = |(number, client): (usize, &&'static str)| Held {
            id: id(number),
            client,
            used_at: Timestamp::from_seconds(number as i64),
        };
        clients.iter().enumerate().map(grant).collect()
    }

    #[test]
    fn what_fits_stays() {
        assert!(to_make(Vec::new(), id(0)).is_empty());
        assert!(to_make(held(&["shop"; MOST_OF_CLIENT]), id(0)).is_empty());
    }

    #[test]
    fn a_client_makes_room_for_itself_and_nobody_else_does() {
        let clients = [&["desk"; 5][..], &["shop"; MOST_OF_CLIENT + 2], &["bank"; 2]].concat();
        assert_eq!(to_make(held(&clients), id(5 + MOST_OF_CLIENT + 1)), [id(5), id(6)], "its own, the oldest first");
        let mut used = held(&["shop"; MOST_OF_CLIENT + 1]);
        used[0].used_at = Timestamp::from_seconds(1_000);
        assert_eq!(to_make(used, id(MOST_OF_CLIENT)), [id(1)], "what was used meanwhile is not the oldest");
        let mut skewed = held(&["shop"; MOST_OF_CLIENT + 1]);
        skewed[MOST_OF_CLIENT].used_at = Timestamp::from_seconds(-1);
        assert_eq!(to_make(skewed, id(MOST_OF_CLIENT)), [id(0)], "the new one stays, whatever the clocks say");
    }

    #[test]
    fn beyond_the_sessions_bound_whoever_has_the_most_makes_room() {
        let names: Vec<&'static str> = (0..MOST_OF_SESSION).map(|number| &*format!("app-{number}").leak()).collect();
        let with = |first: &[&'static str], others: usize| held(&[first, &names[..others], &["new"]].concat());
        let all = with(&["heavy"; 3], MOST_OF_SESSION - 3);
        assert_eq!(to_make(all, id(MOST_OF_SESSION)), [id(0)]);
        let alone = with(&[], MOST_OF_SESSION);
        assert_eq!(to_make(alone, id(MOST_OF_SESSION)), [id(0)], "where each has one, the oldest");
        assert!(to_make(with(&[], MOST_OF_SESSION - 1), id(MOST_OF_SESSION - 1)).is_empty());
    }
}
