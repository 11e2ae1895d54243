//! What the terminal shows after a start: the addresses, made-up passwords (once), and a story to follow with curl.

use std::fmt::Write as _;

use auth_service::CreatedUser;

use crate::config::{Addresses, public_url};

/// The text for the terminal. It holds the passwords that were made up: it is for no log.
pub fn welcome(addresses: Addresses, created: &[CreatedUser]) -> String {
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
        story(&auth, &cart, &orders)
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

/// One sign-in followed through the three services, as shell commands.
fn story(auth: &str, cart: &str, orders: &str) -> String {
    format!(
        r#"# Register (once), and sign in: one token for all three services.
curl -s {auth}/auth/register -H 'Content-Type: application/json' \
  -d '{{"email": "ada@shop.localhost", "password": "a long walk by the sea"}}'; echo
TOKEN=$(curl -s {auth}/auth/login -H 'Content-Type: application/json' \
  -d '{{"email": "ada@shop.localhost", "password": "a long walk by the sea"}}' |
  grep -o '"access_token":"[^"]*"' | cut -d'"' -f4)

# The cart service knows who you are.
PRODUCT=$(curl -s '{cart}/products?limit=1' | grep -o '"id":"[^"]*"' | head -n 1 | cut -d'"' -f4)
curl -s {cart}/cart/items -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
  -d "{{\"product_id\": \"$PRODUCT\", \"quantity\": 2}}"; echo

# So does the order service. The same key again is the same order, not a second one.
ORDER=$(curl -s -X POST {orders}/orders -H "Authorization: Bearer $TOKEN" -H "Idempotency-Key: $(date +%s)-ada" |
  grep -o '"id":"[^"]*"' | head -n 1 | cut -d'"' -f4)
curl -s {orders}/orders/$ORDER/pay -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
  -d '{{"method": "test_card"}}'; echo

# Sign out once, and the token is worth nothing anywhere: 401.
curl -s -X POST {auth}/auth/logout -H "Authorization: Bearer $TOKEN"
curl -s -i {orders}/orders -H "Authorization: Bearer $TOKEN"; echo
"#
    )
}
