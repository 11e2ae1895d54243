//! A user's sessions, and the ways in which they end.

use std::collections::BTreeSet;

use e2e::{Person, Service};
use serde_json::json;

use crate::journeys;
use crate::world::{at_once, eventually, expect};

/// The ids of all sessions that are online, page by page.
async fn online_sessions(admin: &Person) -> BTreeSet<String> {
    let (mut ids, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let url = admin.url(Service::Auth, &format!("/admin/sessions?limit=50{cursor}"));
        let page = expect(200, admin.get(&url).await).body;
        let items = page["items"].as_array().expect("a list");
        ids.extend(items.iter().filter_map(|session| session["id"].as_str().map(str::to_owned)));
        let Some(next) = page["next"].as_str() else { return ids };
        cursor = format!("&cursor={next}");
    }
}

journeys! {
    async fn a_user_sees_their_sessions_and_ends_one_from_another(world: &mut World) {
        let phone = world.platform.customer().await;
        let mut laptop = phone.other_device();
        expect(200, laptop.log_in().await);
        let list = expect(200, laptop.get(&laptop.url(Service::Auth, "/auth/sessions")).await).body;
        let sessions = list["items"].as_array().expect("a list");
        assert_eq!(sessions.len(), 2, "{list}");
        let current: Vec<&str> = sessions
            .iter()
            .filter(|session| session["current"] == true)
            .filter_map(|session| session["id"].as_str())
            .collect();
        assert_eq!(current, [laptop.session_id.as_deref().expect("an id")]);
        let here = world.platform.callers_address();
        assert!(sessions.iter().all(|session| session["address"] == here.as_str()), "{list}");

        let of_phone = phone.session_id.clone().expect("an id");
        let url = laptop.url(Service::Auth, &format!("/auth/sessions/{of_phone}"));
        expect(204, laptop.delete(&url).await);
        eventually(401, || async { phone.cart().await.status }).await;
        eventually(401, || async { phone.orders().await.status }).await;
        expect(200, laptop.cart().await);
        expect(404, laptop.delete(&laptop.url(Service::Auth, "/auth/sessions/0AAAAAAAAAAAAAAAAAAAAAA")).await);
    }

    async fn nobody_ends_a_strangers_session(world: &mut World) {
        let (ada, mallory) = (world.platform.customer().await, world.platform.customer().await);
        let url = mallory.url(Service::Auth, &format!("/auth/sessions/{}", ada.session_id.as_deref().expect("an id")));
        expect(404, mallory.delete(&url).await);
        expect(200, ada.me().await);
        let admin = mallory.url(Service::Auth, &format!("/admin/sessions/{}", ada.session_id.as_deref().expect("an id")));
        expect(403, mallory.delete(&admin).await);
        expect(200, ada.cart().await);
    }

    async fn logout_everywhere_ends_every_device(world: &mut World) {
        let first = world.platform.customer().await;
        let mut others = Vec::new();
        for _ in 0..3 {
            let mut device = first.other_device();
            expect(200, device.log_in().await);
            others.push(device);
        }
        let ended = expect(200, first.log_out_everywhere().await).body;
        assert_eq!(ended["ended"], 4, "{ended}");
        for device in others.iter_mut().chain([&mut first.clone()]) {
            eventually(401, || async { device.cart().await.status }).await;
            eventually(401, || async { device.orders().await.status }).await;
            assert_eq!(device.refresh().await.status, 401);
        }
    }

    async fn a_new_password_ends_the_other_sessions_and_keeps_this_one(world: &mut World) {
        let mut ada = world.platform.customer().await;
        let mut other = ada.other_device();
        expect(200, other.log_in().await);
        let new = format!("New-{}", ada.credentials.password);
        let url = ada.url(Service::Auth, "/auth/password");
        let body = json!({"current_password": ada.credentials.password, "new_password": new});
        let changed = ada.post(&url, &body).await;
        assert!(matches!(changed.status, 200 | 204), "{}", changed.body);
        eventually(401, || async { other.cart().await.status }).await;
        assert_eq!(other.refresh().await.status, 401);
        expect(200, ada.cart().await);
        assert_eq!(ada.other_device().log_in().await.status, 401, "the old password is no more");
        ada.credentials.password = new;
        expect(200, ada.other_device().log_in().await);
    }

    async fn a_locked_account_is_out_everywhere_and_reads_like_a_wrong_password(world: &mut World) {
        let (admin, mut ada) = (world.admin().await, world.platform.customer().await);
        let id = expect(200, ada.me().await).body["id"].as_str().expect("an id").to_owned();
        let lock = admin.post(&admin.url(Service::Auth, &format!("/admin/users/{id}/lock")), &json!({})).await;
        assert!(matches!(lock.status, 200 | 204), "{}", lock.body);
        eventually(401, || async { ada.cart().await.status }).await;
        assert_eq!(ada.refresh().await.status, 401);

        let locked = ada.other_device().log_in().await;
        let unknown = world.platform.person().log_in().await;
        let mut wrong = world.platform.customer().await.other_device();
        wrong.credentials.password.push('x');
        let wrong = wrong.log_in().await;
        for answer in [&locked, &unknown, &wrong] {
            assert_eq!((answer.status, &answer.body), (401, &unknown.body));
        }
        let unlock = admin.post(&admin.url(Service::Auth, &format!("/admin/users/{id}/unlock")), &json!({})).await;
        assert!(matches!(unlock.status, 200 | 204), "{}", unlock.body);
        expect(200, ada.log_in().await);
    }

    async fn an_administrator_sees_who_is_online_and_kicks_one(world: &mut World) {
        let (admin, ada) = (world.admin().await, world.platform.customer().await);
        let id = ada.session_id.clone().expect("an id");
        let online = online_sessions(&admin).await;
        assert!(online.contains(&id), "{online:?}");
        expect(204, admin.delete(&admin.url(Service::Auth, &format!("/admin/sessions/{id}"))).await);
        eventually(401, || async { ada.cart().await.status }).await;
        eventually(401, || async { ada.orders().await.status }).await;
        let online = online_sessions(&admin).await;
        assert!(!online.contains(&id), "an ended session is not online: {online:?}");
    }

    #[settings("MAX_SESSIONS_PER_USER" => "3", "LOGIN_ATTEMPTS_PER_ACCOUNT" => "100")]
    async fn the_session_limit_holds_against_logins_at_once(world: &mut World) {
        let ada = world.platform.customer().await;
        let logins = at_once(12, |_| async {
            let mut device = ada.other_device();
            (device.log_in().await, device)
        });
        let mut alive = 0;
        for (answer, mut device) in logins.await {
            expect(200, answer);
            alive += usize::from(device.refresh().await.status == 200);
        }
        assert_eq!(alive, 3);
    }

    #[settings("LOGIN_ATTEMPTS_PER_ACCOUNT" => "5")]
    async fn guesses_at_once_do_not_outrun_the_counter_and_a_live_session_stays(world: &mut World) {
        let mut ada = world.platform.customer().await;
        let guesses = at_once(40, |number| {
            let mut guess = ada.other_device();
            async move {
                // The right one stands at the end, past the limit.
                if number < 39 {
                    guess.credentials.password = format!("guess number {number}");
                }
                guess.log_in().await.status
            }
        });
        let answers = guesses.await;
        assert_eq!(answers.iter().filter(|status| **status == 429).count(), 35, "{answers:?}");
        assert_eq!(ada.other_device().log_in().await.status, 429);
        expect(200, ada.refresh().await);
        expect(200, ada.cart().await);
    }
}
