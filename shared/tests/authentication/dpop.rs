//! Tokens that are bound to a key (RFC 9449): worth nothing without a fresh proof of that key, for this very request.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use reqwest::Method;
use serde_json::{Value, json};
use shared::clock::{Clock, Timestamp};
use shared::session::UserId;
use shared::token::dpop::{self, ProofError, ProvenRequest, SeenProofs};

use crate::keys::{Key, b64};
use crate::rig::Service;

const PUBLIC_URL: &str = "https://cart.example";
const ALGS: &str = "algs=\"EdDSA ES256 RS256\"";

/// A proof in the making.
pub(crate) struct Proof {
    pub(crate) header: Value,
    pub(crate) claims: Value,
}

/// The public half alone, as a proof shows it.
fn bare_jwk(key: &Key) -> Value {
    let mut jwk = key.jwk();
    for member in ["kid", "alg", "use"] {
        jwk.as_object_mut().unwrap().remove(member);
    }
    jwk
}

/// The thumbprint of RFC 7638, made another way: serde_json writes members in the order of the alphabet, without blanks.
fn thumbprint(key: &Key) -> String {
    b64(digest(&SHA256, bare_jwk(key).to_string().as_bytes()))
}

impl Proof {
    pub(crate) fn for_get(service: &Service, url: &str, access_token: &str) -> Self {
        let claims = json!({
            "jti": uuid::Uuid::new_v4().to_string(), "htm": "GET", "htu": url, "iat": service.clock.now().seconds(),
            "ath": b64(digest(&SHA256, access_token.as_bytes())),
        });
        Self { header: json!({"typ": "dpop+jwt"}), claims }
    }

    fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims[name] = value;
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.claims.as_object_mut().unwrap().remove(name);
        self
    }

    fn member(mut self, name: &str, value: Value) -> Self {
        self.header[name] = value;
        self
    }

    pub(crate) fn by(mut self, key: &Key) -> String {
        for (name, value) in [("alg", json!(key.alg())), ("jwk", bare_jwk(key))] {
            if self.header.get(name).is_none() {
                self.header[name] = value;
            }
        }
        key.signed(&self.header.to_string(), &self.claims.to_string())
    }
}

/// A service, and somebody with a token that is bound to their key.
struct Bound {
    service: Service,
    key: Key,
    token: String,
}

impl Bound {
    async fn to(key: Key) -> Self {
        let service = Service::taking_proofs(&format!("{PUBLIC_URL}/")).await;
        let token = service.key.token(&service.claims_with("cnf", json!({"jkt": thumbprint(&key)})));
        Self { service, key, token }
    }

    fn proof(&self) -> Proof {
        Proof::for_get(&self.service, &format!("{PUBLIC_URL}/me"), &self.token)
    }

    async fn send(&self, path: &str, scheme: &str, token: &str, proofs: &[&str]) -> reqwest::Response {
        let url = format!("{}{path}", self.service.base);
        let mut request = self.service.http.request(Method::GET, url);
        request = request.header("authorization", format!("{scheme} {token}"));
        for proof in proofs {
            request = request.header("dpop", *proof);
        }
        request.send().await.unwrap()
    }

    async fn accepts(&self, what: &str, proof: &str) {
        let answer = self.send("/me", "DPoP", &self.token, &[proof]).await;
        assert_eq!(answer.status().as_u16(), 200, "{what} was refused: {}", answer.text().await.unwrap());
    }

    /// The nonce that comes with the refusal.
    async fn offers_a_nonce(&self, what: &str, proof: &str) -> String {
        let answer = self.send("/me", "DPoP", &self.token, &[proof]).await;
        let nonce = answer.headers().get("dpop-nonce").map(|nonce| nonce.to_str().unwrap().to_owned());
        is_refused(what, "use_dpop_nonce", answer).await;
        nonce.unwrap_or_else(|| panic!("{what}: no nonce"))
    }

    async fn refuses(&self, what: &str, proofs: &[&str]) {
        for path in ["/me", "/greeting"] {
            let answer = self.send(path, "DPoP", &self.token, proofs).await;
            is_refused(what, "invalid_dpop_proof", answer).await;
        }
    }
}

async fn is_refused(what: &str, code: &str, answer: reqwest::Response) {
    assert_eq!(answer.status().as_u16(), 401, "{what} got through");
    let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert!(
        challenge.starts_with(&format!("DPoP error=\"{code}\"")) && challenge.ends_with(ALGS),
        "{what}: {challenge}"
    );
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], code, "{what}");
}

#[actix_web::test]
async fn a_bound_token_is_good_with_a_proof_of_its_key_by_every_algorithm() {
    for key in [Key::ed("a"), Key::es("b"), Key::rs("c")] {
        let bound = Bound::to(key).await;
        for scheme in ["DPoP", "dpop", "DPOP"] {
            let answer = bound.send("/me", scheme, &bound.token, &[&bound.proof().by(&bound.key)]).await;
            assert_eq!(answer.status().as_u16(), 200, "{scheme} {}", bound.key.alg());
        }
        bound.accepts("one with a nonce", &bound.proof().claim("nonce", json!("n")).by(&bound.key)).await;
        let long = bound.proof().claim("htu", json!("HTTPS://cart.EXAMPLE:443/%6De?a=b#c")).by(&bound.key);
        bound.accepts("another spelling of the URL", &long).await;
        let answer = bound.send("/me?x=1", "DPoP", &bound.token, &[&bound.proof().by(&bound.key)]).await;
        assert_eq!(answer.status().as_u16(), 200, "the query is not part of it");
    }
}

#[actix_web::test]
async fn a_bound_token_is_worth_nothing_without_its_proof() {
    let bound = Bound::to(Key::es("k")).await;
    for path in ["/me", "/greeting", "/payment"] {
        is_refused("Bearer", "invalid_token", bound.send(path, "Bearer", &bound.token, &[]).await).await;
        let proof = bound.proof().by(&bound.key);
        is_refused("Bearer with a proof", "invalid_token", bound.send(path, "Bearer", &bound.token, &[&proof]).await)
            .await;
    }
    bound.refuses("no proof", &[]).await;
    let (one, two) = (bound.proof().by(&bound.key), bound.proof().by(&bound.key));
    bound.refuses("two proofs", &[&one, &two]).await;
    bound.refuses("an empty proof", &[""]).await;
    bound.accepts("the first of the two, alone", &one).await;
    bound.refuses("a stranger's proof", &[&bound.proof().by(&Key::es("k"))]).await;
    bound.refuses("a stranger's proof of another kind", &[&bound.proof().by(&Key::ed("k"))]).await;
    bound.refuses("the access token as its own proof", &[&bound.token]).await;
}

#[actix_web::test]
async fn an_unbound_token_is_no_dpop_token() {
    let bound = Bound::to(Key::es("k")).await;
    let token = bound.service.good_token();
    let proof = Proof::for_get(&bound.service, &format!("{PUBLIC_URL}/me"), &token).by(&bound.key);
    is_refused("an unbound token", "invalid_token", bound.send("/me", "DPoP", &token, &[&proof]).await).await;
    assert_eq!(bound.send("/me", "Bearer", &token, &[]).await.status().as_u16(), 200);
    is_refused("no token at all", "invalid_token", bound.send("/me", "DPoP", "x.y.z", &[&proof]).await).await;
}

#[actix_web::test]
async fn a_proof_is_for_one_request() {
    let bound = Bound::to(Key::es("k")).await;
    for (name, values) in [
        ("htm", vec![json!("POST"), json!("get"), json!(""), json!(null), json!(["GET"])]),
        (
            "htu",
            vec![
                json!("https://cart.example/"),
                json!("https://cart.example/me/"),
                json!("https://cart.example/payment"),
                json!("http://cart.example/me"),
                json!("https://evil.example/me"),
                json!("https://cart.example@evil.example/me"),
                json!("https://cart.example:8443/me"),
                json!(format!("{}/me", bound.service.base)),
                json!("/me"),
                json!(""),
                json!(null),
                json!(["https://cart.example/me"]),
            ],
        ),
        ("ath", vec![json!(""), json!("x"), json!(b64([0; 32])), json!(bound.token), json!(null)]),
        ("jti", vec![json!(""), json!(null), json!(1), json!("a\nb"), json!("j".repeat(300))]),
        ("iat", vec![json!(null), json!("1"), json!(-1), json!(-0.5), json!(i64::MIN)]),
    ] {
        for value in values {
            let proof = bound.proof().claim(name, value.clone()).by(&bound.key);
            bound.refuses(&format!("{name} {value}"), &[&proof]).await;
        }
        bound.refuses(name, &[&bound.proof().without(name).by(&bound.key)]).await;
    }
    let other = bound.service.key.token(&bound.service.claims_with("cnf", json!({"jkt": thumbprint(&bound.key)})));
    let proof = Proof::for_get(&bound.service, &format!("{PUBLIC_URL}/me"), &other).by(&bound.key);
    bound.refuses("a proof for another token of the same key", &[&proof]).await;
}

/// Who answers under another name, and is asked with that name, takes no proof that was made for it.
#[actix_web::test]
async fn the_host_of_the_request_decides_nothing() {
    let bound = Bound::to(Key::es("k")).await;
    for (name, value) in
        [("host", "evil.example"), ("x-forwarded-host", "evil.example"), ("forwarded", "host=evil.example")]
    {
        for htu in ["http://evil.example/me", "https://evil.example/me"] {
            let proof = bound.proof().claim("htu", json!(htu)).by(&bound.key);
            let request = bound.service.http.get(format!("{}/me", bound.service.base)).header(name, value);
            let request = request.header("authorization", format!("DPoP {}", bound.token)).header("dpop", &proof);
            is_refused(name, "invalid_dpop_proof", request.send().await.unwrap()).await;
        }
    }
}

#[actix_web::test]
async fn a_proof_is_fresh() {
    let bound = Bound::to(Key::es("k")).await;
    let now = bound.service.clock.now().seconds();
    let whole = [("iat", now - 59), ("iat", now + 29), ("exp", now + 5), ("nbf", now - 5)];
    let mut good: Vec<_> = whole.iter().map(|(name, moment)| (*name, json!(moment))).collect();
    // `Date.now() / 1000`
    let fraction = |whole: i64| serde_json::from_str::<Value>(&format!("{whole}.25")).unwrap();
    good.extend([("iat", fraction(now - 2)), ("exp", fraction(now + 5)), ("nbf", fraction(now - 1))]);
    for (name, moment) in good {
        bound.accepts(name, &bound.proof().claim(name, moment).by(&bound.key)).await;
    }
    let stale =
        [("iat", now - 70), ("iat", now + 40), ("iat", 0), ("iat", i64::MAX), ("exp", now - 1), ("nbf", now + 60)];
    for (name, moment) in stale {
        let proof = bound.proof().claim(name, json!(moment)).by(&bound.key);
        bound.offers_a_nonce(&format!("{name} {moment}"), &proof).await;
    }
    let early = bound.proof().by(&bound.key);
    bound.service.clock.advance(Duration::from_secs(62));
    bound.offers_a_nonce("one that was made a minute ago", &early).await;
}

#[actix_web::test]
async fn a_caller_whose_clock_is_wrong_is_known_by_a_nonce() {
    let bound = Bound::to(Key::es("k")).await;
    let now = bound.service.clock.now().seconds();
    for wrong in [now - 7_200, now + 7_200, 0] {
        let proof = || bound.proof().claim("iat", json!(wrong)).claim("exp", json!(wrong + 60));
        let nonce = bound.offers_a_nonce("a wrong clock", &proof().by(&bound.key)).await;
        let with_nonce = proof().claim("nonce", json!(nonce)).by(&bound.key);
        bound.accepts("with the nonce", &with_nonce).await;
        bound.refuses("a second time", &[&with_nonce]).await;
        bound.accepts("the nonce in another proof", &proof().claim("nonce", json!(nonce)).by(&bound.key)).await;
        for odd in ["", "x", &nonce[1..]] {
            bound.offers_a_nonce(odd, &proof().claim("nonce", json!(odd)).by(&bound.key)).await;
        }
        let stolen = proof().claim("nonce", json!(nonce)).by(&Key::es("thief"));
        bound.refuses("the nonce in a stranger's proof", &[&stolen]).await;
        bound.service.clock.advance(Duration::from_secs(61));
        bound.offers_a_nonce("a minute later", &proof().claim("nonce", json!(nonce)).by(&bound.key)).await;
    }
    // Whoever has a right clock need not mind what nonce there was.
    bound.accepts("an old nonce", &bound.proof().claim("nonce", json!("old")).by(&bound.key)).await;
}

#[actix_web::test]
async fn a_proof_is_good_once() {
    let bound = Bound::to(Key::es("k")).await;
    let proof = bound.proof().claim("iat", json!(bound.service.clock.now().seconds() + 20)).by(&bound.key);
    bound.accepts("the first time", &proof).await;
    for _ in 0..8 {
        bound.refuses("again", &[&proof]).await;
        bound.service.clock.advance(Duration::from_secs(9));
    }
    let id = json!("the-same-id");
    bound.accepts("an id", &bound.proof().claim("jti", id.clone()).by(&bound.key)).await;
    bound.refuses("the same id in another proof", &[&bound.proof().claim("jti", id).by(&bound.key)]).await;
}

#[actix_web::test]
async fn a_proof_that_is_refused_is_not_used_up() {
    let bound = Bound::to(Key::es("k")).await;
    let proof = bound.proof().by(&bound.key);
    let stolen = Bound { key: Key::es("thief"), ..Bound::to(Key::es("thief")).await };
    let answer = bound.send("/payment", "DPoP", &bound.token, &[&proof]).await;
    is_refused("another path", "invalid_dpop_proof", answer).await;
    is_refused("another token", "invalid_token", bound.send("/me", "DPoP", &stolen.token, &[&proof]).await).await;
    bound.accepts("in its own request", &proof).await;
}

#[actix_web::test]
async fn a_proof_is_signed_by_the_key_that_it_shows() {
    let bound = Bound::to(Key::es("k")).await;
    let other = Key::es("other");
    let shown = bound.proof().member("jwk", bare_jwk(&bound.key)).by(&other);
    bound.refuses("a key that did not sign", &[&shown]).await;
    let mut private = bare_jwk(&bound.key);
    private["d"] = json!(b64([1; 32]));
    let symmetric = json!({"kty": "oct", "k": b64([1; 32])});
    let mut named = bare_jwk(&bound.key);
    named["alg"] = json!("EdDSA");
    let mut for_encryption = bare_jwk(&bound.key);
    for_encryption["use"] = json!("enc");
    let mut off_the_curve = bare_jwk(&bound.key);
    off_the_curve["y"] = off_the_curve["x"].clone();
    for jwk in [
        private,
        symmetric,
        named,
        for_encryption,
        off_the_curve,
        bare_jwk(&Key::ed("e")),
        json!({}),
        json!(null),
        json!([]),
        json!("k"),
        json!({"kty": "EC"}),
        json!({"kty": "EC", "crv": "P-256", "x": "", "y": ""}),
    ] {
        bound.refuses(&jwk.to_string(), &[&bound.proof().member("jwk", jwk.clone()).by(&bound.key)]).await;
    }
    for (name, values) in [
        ("typ", vec![json!("JWT"), json!("at+jwt"), json!("jwt"), json!(""), json!(null), json!(["dpop+jwt"])]),
        (
            "alg",
            vec![json!("none"), json!("HS256"), json!("EdDSA"), json!("es256"), json!("ES384"), json!(""), json!(null)],
        ),
        ("crit", vec![json!(["b64"]), json!([]), json!(null)]),
    ] {
        for value in values {
            let proof = bound.proof().member(name, value.clone()).by(&bound.key);
            bound.refuses(&format!("{name} {value}"), &[&proof]).await;
        }
    }
    let good = bound.proof().by(&bound.key);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (head, _) = message.split_once('.').unwrap();
    let padded = bound.proof().claim("pad", json!("x".repeat(5_000))).by(&bound.key);
    for damaged in [
        format!("{message}."),
        message.to_owned(),
        format!("{message}.{}", b64([0; 64])),
        format!("{head}.{}.{signature}", b64("{}")),
        format!("{good}."),
        format!("{good}, {good}"),
        format!("{good} "),
        padded,
        "..".to_owned(),
    ] {
        if damaged.trim() != good {
            bound.refuses(&damaged, &[&damaged]).await;
        }
    }
    let whole = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": bare_jwk(&bound.key)}).to_string();
    let claims = bound.proof().claims.to_string();
    bound.accepts("a proof made by hand", &bound.key.signed(&whole, &claims)).await;
    let claims = bound.proof().claims.to_string();
    let twice = bound.key.signed(&format!("{{\"typ\":\"dpop+jwt\",{}", &whole[1..]), &claims);
    bound.refuses("a member that is given twice", &[&twice]).await;
    bound.accepts("the whole proof", &good).await;
}

#[actix_web::test]
async fn who_sends_nothing_is_told_both_ways_and_scope_and_age_are_told_in_the_way_that_was_used() {
    let bound = Bound::to(Key::es("k")).await;
    let nobody = bound.service.http.get(format!("{}/me", bound.service.base)).send().await.unwrap();
    let told: Vec<_> =
        nobody.headers().get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(told, ["Bearer".to_owned(), format!("DPoP {ALGS}")]);

    let mut claims = bound.service.claims_with("cnf", json!({"jkt": thumbprint(&bound.key)}));
    claims["scope"] = json!("openid");
    let narrow = bound.service.key.token(&claims);
    let proof = Proof::for_get(&bound.service, &format!("{PUBLIC_URL}/orders"), &narrow).by(&bound.key);
    let answer = bound.send("/orders", "DPoP", &narrow, &[&proof]).await;
    assert_eq!(answer.status().as_u16(), 403);
    let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
    assert_eq!(challenge, format!("DPoP error=\"insufficient_scope\", scope=\"orders:read\", {ALGS}"));

    let user = UserId::random();
    let session = bound.service.session(user).await;
    let mut claims = bound.service.claims_of(user, session.id);
    claims["cnf"] = json!({"jkt": thumbprint(&bound.key)});
    let token = bound.service.key.token(&claims);
    let proof = || Proof::for_get(&bound.service, &format!("{PUBLIC_URL}/payment"), &token).by(&bound.key);
    assert_eq!(bound.send("/payment", "DPoP", &token, &[&proof()]).await.status().as_u16(), 200);
    bound.service.clock.advance(crate::rig::STEP_UP_AFTER + Duration::from_secs(2));
    let answer = bound.send("/payment", "DPoP", &token, &[&proof()]).await;
    is_refused("an old login", "insufficient_user_authentication", answer).await;
}

#[actix_web::test]
async fn a_service_that_does_not_know_its_address_takes_no_bound_token() {
    let service = Service::start().await;
    let key = Key::es("k");
    let token = service.key.token(&service.claims_with("cnf", json!({"jkt": thumbprint(&key)})));
    let proof = Proof::for_get(&service, &format!("{}/me", service.base), &token).by(&key);
    let request = service.http.get(format!("{}/me", service.base)).header("dpop", proof);
    let answer = request.header("authorization", format!("DPoP {token}")).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 401);
}

#[test]
fn the_proof_of_the_standard_is_good_at_its_time() {
    // RFC 9449, sections 4.1 and 6.1.
    let proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0\
        RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.\
        eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0Ijox\
        NTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
    let request = ProvenRequest { method: "POST", url: "https://server.example.com/token", access_token: None };
    let now = Timestamp::from_seconds(1_562_262_618);
    let check = |request, now| dpop::check(proof, request, now, |_| false);
    let read = check(request, now).unwrap();
    assert_eq!(read.id, "-BwC3ESc6acc2lTc");
    assert_eq!(read.key.to_string(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    let at_a_service = ProvenRequest { access_token: Some("token"), ..request };
    assert_eq!(check(at_a_service, now), Err(ProofError::AccessToken));
    assert_eq!(check(ProvenRequest { method: "GET", ..request }, now), Err(ProofError::Method));
    assert_eq!(check(request, now + Duration::from_secs(90)), Err(ProofError::Time));
    let seen = SeenProofs::new(Clock::default());
    assert_eq!((seen.remember(&read), seen.remember(&read)), (Ok(()), Err(ProofError::Replayed)));
}
