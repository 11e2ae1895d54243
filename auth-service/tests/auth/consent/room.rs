//! HC6: a client makes room for its own grants with its own.

use super::*;

on_both! {
    hc6_a_client_ends_its_own_grants_and_no_others,
    hc6_many_at_once_leave_as_many_as_may_be,
    hc6_a_client_that_loses_its_last_grant_is_told,
}

async fn open_of(app: &App, session: &str, client: &str) -> Vec<stored_grants::Grant> {
    let session = session.parse::<SessionId>().unwrap();
    let mut open = stored_grants::open_of_session(&app.service.database, session).await.unwrap();
    open.retain(|grant| grant.client_id == client);
    open
}

async fn hc6_a_client_ends_its_own_grants_and_no_others(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let (other, greedy) = (Application::first_party(&app).await, third_party(&app, json!({})).await);
    let others = other.tokens(&app, &mut browser).await;
    let session = id_claims(&others)["sid"].as_str().unwrap().to_owned();
    let begun = greedy.begin(&[("scope", "openid account")]);
    let asked = begun.go(&app, &mut browser).await;
    allow(&app, &mut browser, &asked).await;
    let mut given = Vec::new();
    for _ in 0..MOST_OF_CLIENT + 20 {
        app.clock.advance(Duration::from_millis(1));
        let begun = greedy.begin(&[("scope", "openid account"), ("prompt", "none")]);
        let code = begun.go(&app, &mut browser).await.query("code");
        let tokens = greedy.exchange(&app, &code, &begun.verifier).await;
        assert_eq!(tokens.status, 200, "{}", tokens.text);
        given.push(tokens.body);
    }
    assert_eq!(
        other.refresh(&app, others["refresh_token"].as_str().unwrap()).await.status,
        200,
        "nobody else loses any"
    );
    assert_eq!(app.get("/auth/me", &person.access).await.status, 200);
    assert_eq!(
        open_of(&app, &session, &greedy.id).await.len(),
        MOST_OF_CLIENT,
        "and what was too much has ended in SQL"
    );
    for (number, tokens) in given.iter().enumerate() {
        let (access, refresh) = (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
        if number < 20 {
            app.is_refused(access).await;
            assert_eq!(greedy.refresh(&app, refresh).await.error(), "invalid_grant", "{number}");
        } else {
            assert_eq!(app.get("/auth/me", access).await.status, 200, "{number}");
        }
    }
    let newest = given.last().unwrap()["refresh_token"].as_str().unwrap();
    assert_eq!(greedy.refresh(&app, newest).await.status, 200);
    let audit = app.audit_of(person.id).await;
    assert_eq!(audit[&("end_grant".to_owned(), "done".to_owned())], 20);
    let waiting = outbox::page(&app.service.database, outbox::Which::Waiting, None, 10).await.unwrap();
    assert!(waiting.is_empty(), "a word of the session would sign the person out of the newest");
}

async fn hc6_many_at_once_leave_as_many_as_may_be(app: App) {
    let (mut browser, _) = signed_in(&app).await;
    let (other, greedy) = (Application::first_party(&app).await, Application::first_party(&app).await);
    let others = other.tokens(&app, &mut browser).await;
    let session = id_claims(&others)["sid"].as_str().unwrap().to_owned();
    let mut codes = Vec::new();
    for _ in 0..MOST_OF_CLIENT + 24 {
        let begun = greedy.begin(&[]);
        codes.push((begun.go(&app, &mut browser).await.query("code"), begun.verifier));
    }
    let exchanges = codes.iter().map(|(code, verifier)| greedy.exchange(&app, code, verifier));
    let answers = crate::harness::all(exchanges).await;
    assert!(answers.iter().all(|answer| answer.status == 200 || answer.error() == "invalid_grant"));
    let left = open_of(&app, &session, &greedy.id).await.len();
    // Each spares itself: one more may end than must.
    assert!((MOST_OF_CLIENT - 1..=MOST_OF_CLIENT).contains(&left), "{left} are left");
    let mut good = 0;
    for tokens in answers.iter().filter(|answer| answer.status == 200) {
        let refreshed = greedy.refresh(&app, tokens.body["refresh_token"].as_str().unwrap()).await;
        good += usize::from(refreshed.status == 200);
    }
    assert_eq!(good, left, "who has tokens of one that is left, and nobody else, goes on");
    let kept = app.service.sessions.load(session.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(kept.clients.len(), left + 2, "and nothing else is kept, but for the other client and the platform");
    assert_eq!(other.refresh(&app, others["refresh_token"].as_str().unwrap()).await.status, 200);
}

async fn hc6_a_client_that_loses_its_last_grant_is_told(app: App) {
    let (mut browser, person) = signed_in(&app).await;
    let listening = Application::register(&app, json!({"backchannel_logout_uri": "https://app.example/out"})).await;
    let tokens = listening.tokens(&app, &mut browser).await;
    let session: SessionId = id_claims(&tokens)["sid"].as_str().unwrap().parse().unwrap();
    let template = third_party(&app, json!({})).await;
    for number in 0..MOST_OF_SESSION {
        app.clock.advance(Duration::from_millis(1));
        let mut client = clients::find(&app.service, &template.id).await.unwrap().unwrap();
        client.id = format!("one-of-many-{number}");
        let mut transaction = app.service.database.begin().await.unwrap();
        assert!(stored_clients::insert(&mut transaction, &client).await.unwrap());
        transaction.commit().await.unwrap();
        let new = NewGrant {
            id: GrantId::random(),
            session,
            user: person.id,
            client_id: client.id.clone(),
            scope: Words::split("openid"),
            audiences: Words::default(),
            claims: "{}".to_owned(),
            dpop_jkt: None,
            refreshable: true,
            epoch: ConsentEpoch::new(0, &client),
        };
        assert!(grants::begin(&app.service, new, &By::SERVICE).await.unwrap().is_some());
    }
    let started = Instant::now();
    while listening.refresh(&app, tokens["refresh_token"].as_str().unwrap()).await.error() != "invalid_grant" {
        assert!(started.elapsed() < Duration::from_secs(5), "the oldest has made no room");
    }
    let open = stored_grants::open_of_session(&app.service.database, session).await.unwrap();
    assert_eq!(open.len(), MOST_OF_SESSION);
    let waiting = outbox::page(&app.service.database, outbox::Which::Waiting, None, 10).await.unwrap();
    assert_eq!(waiting.len(), 1, "it has nothing left in the session, and is told");
    assert_eq!(waiting[0].client_id, listening.id);
}
