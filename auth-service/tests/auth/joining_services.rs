//! What becomes of a service that joins with settings of another platform: it notices, says which setting, and lets nobody in.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use e2e::servers::{PrivateRedis, redis_for_test};
use reqwest::Method;
use serde_json::Value;
use shared::authentication::{Audience, Binding, Demand, Refusal, SingleSignOn, SingleSignOnConfig};
use shared::config::Settings;
use shared::token::TokenError;

use crate::harness::{App, Place, logged};

/// A platform on a Redis of the test's own, or none, aloud, where Redis is not installed.
async fn platform() -> Option<(PrivateRedis, App)> {
    let redis = redis_for_test()?;
    let app = App::start(Place::on_redis(redis.url()), |_| {}).await;
    Some((redis, app))
}

/// A service of another team, with the platform's settings but for these.
async fn joined(app: &App, changed: &[(&str, &str)]) -> SingleSignOn {
    let base = app.url("");
    let mut all = vec![("ISSUER", app.service.issuer.as_str()), ("ISSUER_INTERNAL_URL", base.as_str())];
    all.extend(app.place.redis_url.as_deref().map(|url| ("REDIS_URL", url)));
    all.retain(|(name, _)| !changed.iter().any(|(other, _)| other == name));
    all.extend(changed);
    let mut settings = Settings::from_pairs(all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut config = SingleSignOnConfig::read(&mut settings, "cart-service", None);
    settings.finish().unwrap();
    config.clock = app.clock.clone();
    let single_sign_on = SingleSignOn::join(config);
    single_sign_on.settle().await;
    single_sign_on
}

async fn verdict(service: &SingleSignOn, token: &str) -> Result<(), Refusal> {
    let demand = Demand { audience: Audience::Own, scope: None, binding: Binding::CheckedElsewhere };
    service.verify(token, &demand).await.map(drop)
}

/// That it is not ready, says why with these words, in the log too, and takes no token.
async fn lets_nobody_in(app: &App, service: &SingleSignOn, words: &[&str]) {
    let missing = service.missing().join("; ");
    for word in words {
        assert!(missing.contains(word), "{word} is missing from: {missing}");
    }
    let line = logged().lines().any(|line| {
        line.contains("\"level\":\"ERROR\"") && words.iter().all(|word| line.contains(&word.replace('"', "\\\"")))
    });
    assert!(line, "no line of the log has {words:?}");
    let person = app.somebody().await;
    let refused = verdict(service, &person.access).await;
    assert!(matches!(refused, Err(Refusal::Token(TokenError::Misconfigured))), "{refused:?}");
    app.call(Method::POST, "/auth/logout", &person.access).await;
    assert!(verdict(service, &person.access).await.is_err(), "an ended session was taken");
}

async fn is_refused(service: &SingleSignOn, token: &str) {
    let begun = Instant::now();
    while !matches!(verdict(service, token).await, Err(Refusal::Token(TokenError::Revoked))) {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", verdict(service, token).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_with_the_platforms_settings_is_ready_and_hears_of_a_logout() {
    let Some((_redis, app)) = platform().await else { return };
    let service = joined(&app, &[]).await;
    assert_eq!(service.missing(), [""; 0]);
    let person = app.somebody().await;
    verdict(&service, &person.access).await.unwrap();
    app.call(Method::POST, "/auth/logout", &person.access).await;
    is_refused(&service, &person.access).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_with_another_database_number_notices() {
    let Some((redis, app)) = platform().await else { return };
    let service = joined(&app, &[("REDIS_URL", &format!("{}/1", redis.url()))]).await;
    lets_nobody_in(&app, &service, &["REDIS_URL leads here to a Redis", "no auth service uses", "database number"])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_at_the_redis_of_another_platform_notices_and_names_that() {
    let Some((redis, app)) = platform().await else { return };
    let theirs = format!("{}/1", redis.url());
    let staging = |config: &mut auth_service::Config| config.issuer = "http://auth.staging.test".to_owned();
    let _staging = App::start(Place::on_redis(theirs.clone()), staging).await;
    let service = joined(&app, &[("REDIS_URL", &theirs)]).await;
    lets_nobody_in(&app, &service, &["REDIS_URL leads here to another Redis", "http://auth.staging.test"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_with_a_redis_notices_that_the_platform_has_its_sessions_in_memory() {
    // Where the platform was yesterday: its marks are there.
    let Some((redis, yesterday)) = platform().await else { return };
    yesterday.stop().await;
    let app = App::embedded(|_| {}).await;
    let service = joined(&app, &[("REDIS_URL", &redis.url())]).await;
    lets_nobody_in(&app, &service, &["REDIS_URL leads to a Redis here", "in its memory"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_with_another_strategy_notices() {
    let Some((_redis, app)) = platform().await else { return };
    for strategy in ["redis", "jwt"] {
        let service = joined(&app, &[("SESSION_STRATEGY", strategy)]).await;
        let told = format!("SESSION_STRATEGY is {strategy} here and hybrid at the auth service");
        lets_nobody_in(&app, &service, &[&told]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_with_a_shorter_life_of_access_tokens_notices() {
    let Some((_redis, app)) = platform().await else { return };
    let service = joined(&app, &[("ACCESS_TOKEN_TTL", "1m")]).await;
    lets_nobody_in(&app, &service, &["ACCESS_TOKEN_TTL is 60s here and 300s at the auth service"]).await;
    let longer = joined(&app, &[("ACCESS_TOKEN_TTL", "10m")]).await;
    assert_eq!(longer.missing(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_with_another_issuer_notices() {
    let Some((_redis, app)) = platform().await else { return };
    let slash = format!("{}/", app.service.issuer);
    let service = joined(&app, &[("ISSUER", &slash)]).await;
    lets_nobody_in(&app, &service, &["ISSUER is ", "byte for byte"]).await;
}

/// The member of the metadata.
async fn told(app: &App) -> Value {
    app.get("/.well-known/openid-configuration", "").await.body["roam_platform"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_tell_the_same_store_also_after_it_was_emptied_and_services_go_on() {
    let Some((redis, app)) = platform().await else { return };
    let other = App::start(app.place.again(), |_| {}).await;
    let store = told(&app).await["session_store"].clone();
    let id = store["id"].as_str().unwrap().to_owned();
    assert_eq!((&store["kind"], id.len()), (&"redis".into(), 32), "{store}");
    assert_eq!(told(&other).await["session_store"], store);
    let service = joined(&app, &[]).await;
    assert_eq!(service.missing(), [""; 0]);
    assert_eq!(redis.ask("FLUSHALL").unwrap(), "+OK");
    let begun = Instant::now();
    while redis.ask_for_text("HGET roam:platform id").ok().as_deref() != Some(&id) {
        assert!(begun.elapsed() < Duration::from_secs(10), "the store has no name, or another one");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    verdict(&service, &app.somebody().await.access).await.unwrap();
    assert!(!service.missing().iter().any(|missing| missing.contains("REDIS_URL")), "{:?}", service.missing());
    assert_eq!(joined(&app, &[]).await.missing(), [""; 0], "one that starts afterwards");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_in_memory_says_so_and_all_say_how_long_tokens_live() {
    let app = App::embedded(|_| {}).await;
    let told = told(&app).await;
    assert_eq!(told["session_store"], serde_json::json!({"kind": "memory"}));
    assert_eq!((&told["session_strategy"], &told["access_token_ttl"]), (&"hybrid".into(), &300.into()));
}

/// The user that the manual makes for a service that joins, made at this Redis; and the URL by which it comes.
fn user_of_the_manual(redis: &PrivateRedis) -> String {
    let manual = include_str!("../../../docs/operations.md");
    let line = manual.lines().find(|line| line.starts_with("ACL SETUSER wish-service")).unwrap();
    assert_eq!(redis.ask(&line.replace("PASSWORD", "pass-1")).unwrap(), "+OK", "{line}");
    redis.url().replace("redis://", "redis://wish-service:pass-1@")
}

/// What Redis answers that user.
fn answers(redis: &PrivateRedis, command: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, redis.port())).unwrap();
    stream.write_all(format!("AUTH wish-service pass-1\r\n{command}\r\nQUIT\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.strip_prefix("+OK\r\n").unwrap_or_else(|| panic!("it may not sign in: {answer}")).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_works_with_the_redis_user_of_the_manual() {
    let Some((redis, app)) = platform().await else { return };
    let url = user_of_the_manual(&redis);
    let service = joined(&app, &[("REDIS_URL", &url)]).await;
    assert_eq!(service.missing(), [""; 0]);
    let person = app.somebody().await;
    let demand = Demand { audience: Audience::Own, scope: None, binding: Binding::CheckedElsewhere };
    let principal = service.verify(&person.access, &demand).await.unwrap().try_into().unwrap();
    let session = service.confirm(&principal).await.unwrap();
    assert_eq!(session.user, person.id, "a sensitive request looks its session up");
    assert!(!service.has_ended(session.id).await.unwrap());
    app.call(Method::POST, "/auth/logout", &person.access).await;
    is_refused(&service, &person.access).await;
    assert!(service.has_ended(session.id).await.unwrap());
    let wrong = joined(&app, &[("REDIS_URL", &format!("{url}/1"))]).await;
    lets_nobody_in(&app, &wrong, &["REDIS_URL leads here to a Redis"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_redis_user_of_the_manual_writes_nothing_and_reads_no_secret() {
    let Some((redis, app)) = platform().await else { return };
    user_of_the_manual(&redis);
    let person = app.somebody().await;
    let kept =
        redis.ask_for_text(&format!("EVAL \"return redis.call('KEYS', '*s:{}')[1]\" 0", person.session)).unwrap();
    for refused in [
        format!("DEL {kept}"),
        format!("HSET {kept} r admin"),
        format!("HGET {kept} r"),
        "XADD roam:{00}:rev * s x".to_owned(),
        "SET roam:{00}:mark 5".to_owned(),
        "HSET roam:platform id x".to_owned(),
        "GET roam:v:{code:x}".to_owned(),
        "GET roam:n:{login:x}".to_owned(),
        "ZRANGE roam:{00}:on 0 -1".to_owned(),
        "HGETALL of-another-application".to_owned(),
        "EVAL \"return 1\" 0".to_owned(),
        "EVALSHA 0000000000000000000000000000000000000000 0".to_owned(),
        "KEYS *".to_owned(),
        "SCAN 0".to_owned(),
        "MONITOR".to_owned(),
        "CONFIG GET *".to_owned(),
        "ACL LIST".to_owned(),
        "FLUSHALL".to_owned(),
        "PUBLISH x y".to_owned(),
        "SUBSCRIBE x".to_owned(),
    ] {
        let answer = answers(&redis, &refused);
        assert!(answer.starts_with("-NOPERM"), "{refused}: {answer}");
    }
    let session = answers(&redis, &format!("HGETALL {kept}"));
    assert!(session.contains(&person.id.to_string()), "it reads the session: {session}");
    // What proves a refresh token is its last part, which no store has.
    let proof = person.refresh.rsplit('.').next().unwrap();
    assert!(proof.len() > 20 && !session.contains(proof), "{session}");
    assert_eq!(app.refresh(&person.refresh).await.status, 200, "nothing was changed");
}
