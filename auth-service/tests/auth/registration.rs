//! Who may register, and with what.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{App, PASSWORD, all, on_both};

on_both! {
    a_person_registers_and_signs_in,
    privileges_cannot_be_registered,
    an_address_has_one_account_in_all_its_spellings,
    of_fifty_that_register_one_address_at_once_one_does,
    a_bad_password_is_refused_before_it_is_hashed,
    every_character_of_a_password_counts,
    a_password_is_the_same_however_a_keyboard_writes_its_letters,
    what_is_copied_with_blanks_around_it_is_taken_as_on_the_pages,
    a_name_that_would_deceive_is_refused,
    no_injection_is_more_than_text,
    hl9_nobody_registers_an_address_that_could_be_taken_for_another,
    registrations_from_one_address_are_bounded with |config| config.throttle.registrations_per_address = 3,
    a_body_of_another_kind_is_refused,
}

async fn a_person_registers_and_signs_in(app: App) {
    let answer = app
        .post("/auth/register", json!({"email": "Ada@Example.com", "password": PASSWORD, "display_name": "Ada"}))
        .await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(answer.body["email"], "ada@example.com");
    assert_eq!(answer.body["display_name"], "Ada");
    assert_eq!(answer.body["roles"], json!(["user"]));
    let mut fields: Vec<_> = answer.body.as_object().unwrap().keys().cloned().collect();
    fields.sort();
    assert_eq!(fields, ["created_at", "display_name", "email", "id", "roles"], "the account is shown field by field");

    let ada = app.sign_in("ada@EXAMPLE.com", PASSWORD).await;
    let me = app.get("/auth/me", &ada.access).await;
    assert_eq!((me.status, &me.body), (200, &answer.body));
    let audit = app.audit_of(ada.id).await;
    assert_eq!(audit[&("register".to_owned(), "done".to_owned())], 1);
    assert_eq!(audit[&("log_in".to_owned(), "done".to_owned())], 1);
}

/// D8
async fn privileges_cannot_be_registered(app: App) {
    for field in ["role", "roles", "is_admin", "id", "email_verified", "created_at", "version", "locked_at"] {
        let answer =
            app.post("/auth/register", json!({"email": "eve@example.com", "password": PASSWORD, field: "admin"})).await;
        assert_eq!((answer.status, answer.pointer()), (422, format!("/{field}").as_str()), "{}", answer.text);
    }
    assert_eq!(app.log_in("eve@example.com", PASSWORD).await.status, 401, "nothing was registered");
}

/// D9
async fn an_address_has_one_account_in_all_its_spellings(app: App) {
    let register = |email: &str| app.post("/auth/register", json!({"email": email, "password": PASSWORD}));
    assert_eq!(register("ju\u{308}rgen@b\u{fc}cher.example").await.status, 201);
    for other in [
        "J\u{fc}rgen@B\u{fc}cher.example",
        "j\u{fc}rgen@xn--bcher-kva.example",
        " j\u{fc}rgen@b\u{fc}cher.example",
        "j\u{fc}rgen@b\u{fc}cher.example\r\n",
    ] {
        let answer = register(other).await;
        assert_eq!((answer.status, answer.code(), answer.pointer()), (409, "email_taken", "/email"));
    }
    let long = format!("{}@example.com", "a".repeat(320));
    for refused in [
        "a @example.com",
        "a@ example.com",
        "a@example.com\r\nBcc: b@example.com",
        "\"a\"@example.com",
        "a",
        "",
        " ",
        &long,
    ] {
        let answer = register(refused).await;
        assert_eq!((answer.status, answer.pointer()), (422, "/email"), "{refused:?}: {}", answer.text);
    }
}

async fn of_fifty_that_register_one_address_at_once_one_does(app: App) {
    let body = json!({"email": "race@example.com", "password": PASSWORD});
    let answers = all((0..50).map(|_| app.post("/auth/register", body.clone()))).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 1);
    assert!(answers.iter().all(|answer| [201, 409].contains(&answer.status)));
}

/// D6
async fn a_bad_password_is_refused_before_it_is_hashed(app: App) {
    let before = app.service.hasher.computed();
    let long = "x".repeat(1025);
    for password in ["", "seven77", "password", "PASSWORD", "1234567890", &long] {
        let answer = app.post("/auth/register", json!({"email": "a@example.com", "password": password})).await;
        assert_eq!((answer.status, answer.pointer()), (422, "/password"), "{password:?}: {}", answer.text);
    }
    for body in [json!(1_234_567_890_123_u64), json!(null), json!(["a long password"]), json!(true), json!({"a": "b"})]
    {
        let answer = app.post("/auth/register", json!({"email": "a@example.com", "password": body})).await;
        assert_eq!((answer.status, answer.pointer()), (422, "/password"));
        assert!(
            !answer.text.contains("1234567890123") && !answer.text.contains("long"),
            "it is not quoted: {}",
            answer.text
        );
    }
    let megabyte = app.post("/auth/login", json!({"email": "a@example.com", "password": "x".repeat(1_000_000)})).await;
    assert_eq!(megabyte.status, 413);
    let long = app.post("/auth/login", json!({"email": "a@example.com", "password": long})).await;
    assert_eq!(long.status, 422);
    assert_eq!(app.service.hasher.computed(), before, "nothing was hashed");
}

/// D6
async fn every_character_of_a_password_counts(app: App) {
    let long = format!("{}a", "x".repeat(1023));
    let passwords = [
        " leading blank",
        "trailing blank ",
        "nul\u{0}inside it",
        "\u{1f511}\u{1f512}\u{1f513}\u{1f511}\u{1f512}\u{1f513}\u{1f511}\u{1f512}",
        "Case Counts Here",
        &long,
    ];
    for (number, password) in passwords.into_iter().enumerate() {
        let email = format!("exact{number}@example.com");
        let answer = app.post("/auth/register", json!({"email": email, "password": password})).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        assert_eq!(app.log_in(&email, password).await.status, 200, "{password:?}");
        let last = password.char_indices().last().unwrap().0;
        for wrong in [password[..last].to_owned(), password.to_lowercase() + "?", password.trim().to_owned() + "!"] {
            assert_eq!(
                app.log_in(&email, &wrong).await.status,
                if wrong.len() > 1024 { 422 } else { 401 },
                "{wrong:?}"
            );
        }
    }
}

async fn a_password_is_the_same_however_a_keyboard_writes_its_letters(app: App) {
    let (decomposed, composed) = ("cafe\u{301} au lait", "caf\u{e9} au lait");
    for (number, (registered, other)) in [(decomposed, composed), (composed, decomposed)].into_iter().enumerate() {
        let email = format!("letters{number}@example.com");
        let answer = app.post("/auth/register", json!({"email": email, "password": registered})).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        for password in [registered, other, "cafe\u{301}\u{a0}au\u{3000}lait"] {
            assert_eq!(app.log_in(&email, password).await.status, 200, "{password:?}");
        }
        for wrong in ["cafe au lait", "CAF\u{c9} au lait", "caf\u{e9} au lait "] {
            assert_eq!(app.log_in(&email, wrong).await.status, 401, "{wrong:?}");
        }
    }
}

async fn what_is_copied_with_blanks_around_it_is_taken_as_on_the_pages(app: App) {
    let body = json!({"email": "\tcopied@example.com ", "password": PASSWORD, "display_name": " Ada "});
    let answer = app.post("/auth/register", body).await;
    assert_eq!((answer.status, &answer.body["email"]), (201, &json!("copied@example.com")), "{}", answer.text);
    assert_eq!(answer.body["display_name"], "Ada");
    let login = app.post("/auth/login", json!({"email": " copied@example.com", "password": PASSWORD})).await;
    assert_eq!(login.status, 200, "{}", login.text);
    assert_eq!(
        app.log_in("copied@example.com", &format!(" {PASSWORD}")).await.status,
        401,
        "a password is not trimmed"
    );
}

/// D10
async fn a_name_that_would_deceive_is_refused(app: App) {
    let register = |email: String, name: &str| {
        app.post("/auth/register", json!({"email": email, "password": PASSWORD, "display_name": name}))
    };
    let huge = "x".repeat(60_000);
    for (number, name) in
        ["", "   ", "a\u{0}b", "a\r\nb", "\u{1b}[31mred", "\u{202e}gpj.exe", "a\u{200b}b", "a\u{200d}b", &huge]
            .into_iter()
            .enumerate()
    {
        let answer = register(format!("name{number}@example.com"), name).await;
        assert_eq!((answer.status, answer.pointer()), (422, "/display_name"), "{}", answer.text);
    }
    for (number, name) in [
        "<script>alert(1)</script>",
        "{{7*7}}",
        "Ren\u{e9}e \u{5c71}\u{7530}",
        "\u{639}\u{644}\u{6cc}\u{200c}\u{631}\u{636}\u{627}",
    ]
    .into_iter()
    .enumerate()
    {
        let answer = register(format!("fine{number}@example.com"), name).await;
        assert_eq!(answer.body["display_name"], name, "it is kept as text: {}", answer.text);
        assert!(answer.headers["content-type"].to_str().unwrap().starts_with("application/json"));
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
}

/// D11
async fn no_injection_is_more_than_text(app: App) {
    let attacks = [
        "' OR '1'='1",
        "'; DROP TABLE users; --",
        "*)(uid=*))(|(uid=*",
        "{\"$gt\":\"\"}",
        "roam:*",
        "return redis.call('KEYS','*')",
        "\u{0}",
        "%00",
        "../../etc/passwd",
    ];
    for attack in attacks {
        let email = format!("{attack}@example.com");
        for email in [attack, &email] {
            assert!((400..500).contains(&app.log_in(email, attack).await.status), "{attack:?}");
            let registered =
                app.post("/auth/register", json!({"email": email, "password": attack, "display_name": attack})).await;
            assert!([201, 409, 422].contains(&registered.status), "{attack:?}: {}", registered.text);
        }
        assert_eq!(app.refresh(attack).await.status, 401);
        assert!(
            (400..500).contains(
                &app.post("/auth/login", json!({"email": "a@example.com", "password": PASSWORD, "device": attack}))
                    .await
                    .status
            )
        );
    }
    assert_eq!(app.administrator().await.email, crate::harness::ADMIN_EMAIL, "the accounts are still there");
}

async fn registrations_from_one_address_are_bounded(app: App) {
    let register = |number: u32| {
        app.post("/auth/register", json!({"email": format!("n{number}@example.com"), "password": PASSWORD}))
    };
    for number in 0..3 {
        assert_eq!(register(number).await.status, 201);
    }
    let refused = register(3).await;
    assert_eq!((refused.status, refused.code()), (429, "too_many_attempts"));
    assert!((1..=900).contains(&refused.retry_after()));
}

async fn hl9_nobody_registers_an_address_that_could_be_taken_for_another(app: App) {
    let register = |email: &'static str| app.post("/auth/register", json!({"email": email, "password": PASSWORD}));
    assert_eq!(register("admin@example.com").await.status, 201);
    for imitation in ["\u{430}dmin@example.com", "adm\u{131}n@example.com", "admin@\u{435}xample.com"] {
        let answer = register(imitation).await;
        assert_eq!((answer.status, answer.code(), answer.pointer()), (422, "look_alike", "/email"), "{imitation}");
    }
    for honest in ["j\u{fc}rgen@example.com", "\u{434}\u{43c}\u{438}\u{442}\u{440}\u{438}\u{439}@example.com"] {
        assert_eq!(register(honest).await.status, 201, "{honest}");
        assert_eq!(app.log_in(honest, PASSWORD).await.status, 200, "{honest}");
    }
    // An account of before the rule signs in.
    let hash = app.service.hasher.hash(auth_service::password::NewPassword::parse(PASSWORD).unwrap()).await.unwrap();
    let old = auth_service::storage::users::User {
        id: shared::session::UserId::random(),
        email: "\u{430}dmin@example.com".parse().unwrap(),
        display_name: "Old".to_owned(),
        password_hash: hash,
        roles: auth_service::roles::Roles::user(),
        locked_at: None,
        version: 1,
        ended_version: 1,
        created_at: app.clock.now(),
    };
    let mut transaction = app.service.database.begin().await.unwrap();
    assert!(auth_service::storage::users::insert(&mut transaction, &old).await.unwrap());
    transaction.commit().await.unwrap();
    assert_eq!(app.log_in("\u{430}dmin@example.com", PASSWORD).await.status, 200);
}

/// D14, D15
async fn a_body_of_another_kind_is_refused(app: App) {
    let send = |kind: &'static str, body: &str| {
        app.send(app.request(Method::POST, "/auth/login").header("Content-Type", kind).body(body.to_owned()))
    };
    let good = json!({"email": "a@example.com", "password": PASSWORD}).to_string();
    for kind in ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", "application/xml", ""] {
        assert_eq!(send(kind, &good).await.status, 415, "{kind:?}");
    }
    let twice = r#"{"email":"a@example.com","email":"b@example.com","password":"x"}"#;
    assert!([400, 422].contains(&send("application/json", twice).await.status), "a field stands once");
    for no_json in ["", "email=a&password=b", "[", "null", "[]", "\"a\"", "7"] {
        assert!([400, 422].contains(&send("application/json", no_json).await.status), "{no_json:?}");
    }
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    assert!([400, 422].contains(&send("application/json", &deep).await.status));
    let query =
        app.send(app.request(Method::POST, "/auth/login?email=a@example.com&password=b").json(&json!({}))).await;
    assert_eq!(query.status, 422, "the query is not looked at");
    let _: Value = query.body;
}
