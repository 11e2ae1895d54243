//! A call of the order service at the cart service, as it is on the wire: with a token that is for the cart alone, and
//! names who acts for the user.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::{Person, Service, secrets};
use reqwest::Method;
use serde_json::{Value, json};

use crate::World;
use crate::world::{at_once, eventually, expect};

/// A door before a service: all that goes in is passed on, and kept.
#[derive(Clone)]
struct Door {
    port: u16,
    leads_to: Arc<OnceLock<u16>>,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Door {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let door = Self { port, leads_to: Arc::default(), seen: Arc::default() };
        let own = door.clone();
        std::thread::spawn(move || {
            for inside in listener.incoming().filter_map(Result::ok) {
                let own = own.clone();
                // Whoever goes away in the middle has ended the call.
                std::thread::spawn(move || own.pass(inside));
            }
        });
        door
    }

    fn pass(&self, caller: TcpStream) -> std::io::Result<()> {
        let service = TcpStream::connect((Ipv4Addr::LOCALHOST, *self.leads_to.wait()))?;
        let (mut back, mut to_caller) = (service.try_clone()?, caller.try_clone()?);
        std::thread::spawn(move || std::io::copy(&mut back, &mut to_caller));
        let (mut caller, mut service, mut bytes) = (caller, service, [0; 16 * 1024]);
        loop {
            match caller.read(&mut bytes)? {
                0 => return service.shutdown(Shutdown::Both),
                count => {
                    self.seen.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&bytes[..count]);
                    service.write_all(&bytes[..count])?;
                }
            }
        }
    }

    /// The access tokens that came in, in order.
    fn tokens(&self) -> Vec<String> {
        let seen = String::from_utf8_lossy(&self.seen.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
        let tokens = seen.lines().filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("authorization").then(|| value.strip_prefix("Bearer "))?
        });
        let tokens: Vec<String> = tokens.map(|token| token.trim().to_owned()).collect();
        tokens.iter().for_each(|token| secrets::remember(token));
        tokens
    }
}

fn claims(token: &str) -> Value {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).expect("a payload")).expect("base64url");
    serde_json::from_slice(&payload).expect("claims")
}

async fn status_with(person: &Person, service: Service, path: &str, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    let url = person.url(service, path);
    person.other_device().send(Method::GET, &url, None, &[("authorization", &bearer)]).await.status
}

#[tokio::test]
async fn the_cart_service_sees_who_acts_for_whom_and_the_token_ends_with_the_session() {
    let door = Door::start();
    let Some(world) = World::split(&[("CART_URL", &format!("http://127.0.0.1:{}", door.port))]).await else { return };
    let port = world.platform.cart().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    door.leads_to.set(port).expect("it leads nowhere yet");
    let product = world.product(9).await;
    let mut ada = world.platform.customer().await;

    // Many orders at once, one exchange: what order asks of auth is little.
    expect(200, ada.add_to_cart(&product, 1).await);
    let answers = at_once(20, |_| ada.place_order_patiently("once")).await;
    assert!(answers.iter().all(|answer| answer.status == 201), "{}", answers[0].body);
    expect(200, ada.add_to_cart(&product, 1).await);
    expect(201, ada.place_order("again").await);
    let exchanges = async || {
        let metrics = expect(200, ada.get(&ada.url(Service::Orders, "/metrics")).await).body;
        let given = "roam_token_exchanges_total{outcome=\"given\"} ";
        let line = metrics.as_str().expect("text").lines().find_map(|line| line.strip_prefix(given)).map(str::to_owned);
        line.expect("it is counted")
    };
    assert_eq!(exchanges().await, "1");

    let tokens = door.tokens();
    let (token, own) = (tokens.last().expect("a call").clone(), ada.access_token.clone().expect("a token"));
    assert!(tokens.iter().all(|seen| *seen == token && *seen != own), "one token, and never the user's own");
    let (says, own) = (claims(&token), claims(&own));
    assert_eq!((&says["act"], &says["scope"]), (&json!({"sub": "order-service"}), &json!("cart")));
    assert!([json!("cart-service"), json!(["cart-service"])].contains(&says["aud"]), "{says}");
    assert_eq!((&says["sub"], &says["sid"], &says["exp"]), (&own["sub"], &own["sid"], &own["exp"]));

    // It opens the cart, and nothing else.
    assert_eq!(status_with(&ada, Service::Cart, "/cart", &token).await, 200);
    assert_eq!(status_with(&ada, Service::Orders, "/orders", &token).await, 401);
    assert_eq!(status_with(&ada, Service::Auth, "/auth/me", &token).await, 401);

    // The next access token is another exchange; the end of the session is the end of both.
    expect(200, ada.refresh().await);
    expect(200, ada.add_to_cart(&product, 1).await);
    expect(201, ada.place_order("refreshed").await);
    let second = door.tokens().pop().expect("a call");
    assert_ne!(second, token);
    expect(204, ada.log_out().await);
    for token in [&token, &second] {
        eventually(401, || status_with(&ada, Service::Cart, "/cart", token)).await;
    }
    world.finish();
}
