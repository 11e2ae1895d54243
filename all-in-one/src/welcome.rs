//! What the terminal shows after a start: the addresses, made-up passwords (once), and a story to follow with curl.

use std::fmt::Write as _;

use auth_service::CreatedUser;
use shared::authentication::strategy::{Credential, Strategy};

use crate::config::{Addresses, public_url};

/// The text for the terminal. It holds the passwords that were made up: it is for no log.
pub fn welcome(addresses: Addresses, created: &[CreatedUser], strategy: Strategy) -> String {
    let Addresses { auth, cart, orders } = addresses;
    let [auth, cart, orders] = [auth, cart, orders].map(public_url);
    let mut text = format!(
        "\nThe shop is open:  {cart}\n\n\
         One sign-in, three services:\n\n\
         \x20 account  {auth}/account   {auth}/docs\n\
         \x20 shop     {cart}/   {cart}/docs\n\
         \x20 orders   {orders}/   {orders}/docs\n"
    );
    text.push_str(&accounts(created));
    let _ = write!(
        text,
        "\nTry it, in another terminal:\n\n{}\nCtrl-C stops it; accounts, carts and orders stay.\n",
        story([&auth, &cart, &orders], strategy)
    );
    text
}

fn accounts(created: &[CreatedUser]) -> String {
    let made_up = created.iter().filter_map(|user| Some((user, user.made_up_password.as_ref()?)));
    let rows: String = made_up.map(|(user, password)| format!("  {}  {}\n", user.email, password.expose())).collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("\nAccounts of this first start, with made-up passwords that are shown only now:\n\n{rows}")
}

/// One sign-in followed through the three services, as shell commands: by what `strategy` gives whoever signs in.
fn story([auth, cart, orders]: [&str; 3], strategy: Strategy) -> String {
    let (credential, keep, show) = match strategy.credential() {
        Credential::BearerToken => {
            let keep = r#"TOKEN=$(curl -s AUTH/auth/login -H 'Content-Type: application/json' \
  -d '{"email": "ada@shop.localhost", "password": "a long walk by the sea"}' |
  grep -o '"access_token":"[^"]*"' | cut -d'"' -f4)"#;
            ("token", keep, r#"-H "Authorization: Bearer $TOKEN""#)
        }
        Credential::SessionCookie | Credential::SealedCookie => {
            let keep = r#"COOKIES=$(mktemp)
curl -s -c "$COOKIES" AUTH/auth/login -H 'Content-Type: application/json' \
  -d '{"email": "ada@shop.localhost", "password": "a long walk by the sea"}'; echo"#;
            ("cookie", keep, r#"-b "$COOKIES""#)
        }
    };
    let (ends, sign_out) = match strategy {
        Strategy::Jwt => ("Sign out; without JWT_DENY_LIST, the token is good until it expires.", "logout"),
        Strategy::Cookie => ("Sign out everywhere, and no copy of the cookie is worth anything: 401.", "logout-all"),
        _ if credential == "cookie" => ("Sign out once, and the cookie is worth nothing anywhere: 401.", "logout"),
        _ => ("Sign out once, and the token is worth nothing anywhere: 401.", "logout"),
    };
    let story = r#"# Register (once), and sign in: one CREDENTIAL for all three services.
curl -s AUTH/auth/register -H 'Content-Type: application/json' \
  -d '{"email": "ada@shop.localhost", "password": "a long walk by the sea"}'; echo
KEEP

# The cart service knows who you are.
PRODUCT=$(curl -s 'CART/products?limit=1' | grep -o '"id":"[^"]*"' | head -n 1 | cut -d'"' -f4)
curl -s CART/cart/items SHOW -H 'Content-Type: application/json' \
  -d "{\"product_id\": \"$PRODUCT\", \"quantity\": 2}"; echo

# So does the order service. The same key again is the same order, not a second one.
ORDER=$(curl -s -X POST ORDERS/orders SHOW -H "Idempotency-Key: $(date +%s)-ada" |
  grep -o '"id":"[^"]*"' | head -n 1 | cut -d'"' -f4)
curl -s ORDERS/orders/$ORDER/pay SHOW -H 'Content-Type: application/json' \
  -d '{"method": "test_card"}'; echo

# ENDS
curl -s -X POST AUTH/auth/SIGN_OUT SHOW
curl -s -i ORDERS/orders SHOW; echo
"#;
    let words = [("KEEP", keep), ("CREDENTIAL", credential), ("SHOW", show), ("ENDS", ends), ("SIGN_OUT", sign_out)];
    let addresses = [("AUTH/", auth), ("CART/", cart), ("ORDERS/", orders)];
    let told = words.into_iter().fold(story.to_owned(), |story, (name, text)| story.replace(name, text));
    addresses.into_iter().fold(told, |story, (name, address)| story.replace(name, &format!("{address}/")))
}
