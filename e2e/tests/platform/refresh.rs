//! A refresh token survives every honest race, and a stolen one ends the session everywhere.

use std::collections::BTreeSet;

use crate::journeys;
use crate::world::{at_once, eventually, expect};

journeys! {
    async fn one_refresh_token_used_200_times_at_once_has_one_successor(world: &mut World) {
        let mut ada = world.platform.customer().await;
        let token = ada.refresh_token.clone().expect("a refresh token");
        let answers = at_once(200, |_| ada.present(&token)).await;
        let refused: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
        assert!(refused.is_empty(), "{} of 200 were refused: {}", refused.len(), refused[0].body);
        let successors: BTreeSet<&str> =
            answers.iter().filter_map(|answer| answer.body["refresh_token"].as_str()).collect();
        assert_eq!(successors.len(), 1, "one live successor");
        assert!(!successors.contains(token.as_str()), "it is a new one");

        // Nobody is logged out: every access token that was given works, and the successor goes on.
        for answer in answers.iter().step_by(40) {
            ada.access_token = answer.body["access_token"].as_str().map(str::to_owned);
            expect(200, ada.cart().await);
        }
        ada.refresh_token = successors.first().map(|token| (*token).to_owned());
        expect(200, ada.refresh().await);
        expect(200, ada.orders().await);
    }

    async fn a_refresh_token_two_generations_old_ends_the_session_on_every_service(world: &mut World) {
        let mut ada = world.platform.customer().await;
        let stolen = ada.refresh_token.clone().expect("a refresh token");
        expect(200, ada.refresh().await);
        expect(200, ada.refresh().await);
        expect(200, ada.cart().await);

        let thief = ada.present(&stolen).await;
        assert_eq!((thief.status, thief.code()), (401, "invalid_refresh_token"), "{}", thief.body);

        eventually(401, || async { ada.me().await.status }).await;
        eventually(401, || async { ada.cart().await.status }).await;
        eventually(401, || async { ada.orders().await.status }).await;
        assert_eq!(ada.refresh().await.status, 401, "the newest refresh token died with it");
        let audit = world.admin().await;
        let entries = expect(200, audit.get(&format!("{}/admin/audit", world.platform.auth())).await).body;
        assert!(entries.to_string().contains("refresh_token_reused"), "the theft is in the audit: {entries}");
    }

    #[settings("REFRESH_GRACE" => "0s")]
    async fn without_a_grace_the_token_before_is_theft_at_once(world: &mut World) {
        let mut ada = world.platform.customer().await;
        let used = ada.refresh_token.clone().expect("a refresh token");
        expect(200, ada.refresh().await);
        assert_eq!(ada.present(&used).await.status, 401);
        assert_eq!(ada.refresh().await.status, 401);
        eventually(401, || async { ada.cart().await.status }).await;
    }

    async fn a_logout_racing_refreshes_leaves_nothing_alive(world: &mut World) {
        for _ in 0..5 {
            let ada = world.platform.customer().await;
            let token = ada.refresh_token.clone().expect("a refresh token");
            let racing = at_once(40, |number| {
                let (ada, token) = (&ada, &token);
                async move {
                    match number {
                        20 => ada.log_out().await,
                        _ => ada.present(token).await,
                    }
                }
            });
            let answers = racing.await;
            assert_eq!(answers[20].status, 204, "{}", answers[20].body);
            for answer in &answers {
                assert!(matches!(answer.status, 200 | 204 | 401), "{}", answer.body);
            }
            for answer in answers.iter().filter(|answer| answer.status == 200) {
                let successor = answer.body["refresh_token"].as_str().expect("a refresh token");
                assert_eq!(ada.present(successor).await.status, 401, "a refresh token outlived the logout");
                let mut holder = ada.clone();
                holder.access_token = answer.body["access_token"].as_str().map(str::to_owned);
                eventually(401, || async { holder.cart().await.status }).await;
                eventually(401, || async { holder.orders().await.status }).await;
            }
        }
    }

    async fn a_made_up_refresh_token_ends_nothing(world: &mut World) {
        let mut ada = world.platform.customer().await;
        let token = ada.refresh_token.clone().expect("a refresh token");
        let parts: Vec<&str> = token.split('.').collect();
        let (body, mac) = token.rsplit_once('.').expect("a MAC");
        let flipped = format!("{body}.{}{}", if mac.starts_with('A') { 'B' } else { 'A' }, &mac[1..]);
        let next = format!("{}.{}.2.{mac}", parts[0], parts[1]);
        for forged in [flipped, next, format!("{token}x"), body.to_owned(), "*".to_owned(), String::new()] {
            let answer = ada.present(&forged).await;
            assert!(matches!(answer.status, 401 | 422), "{}", answer.body);
        }
        expect(200, ada.refresh().await);
    }
}
