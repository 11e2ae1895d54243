//! Where a client proves itself: a platform, a person who has an account there, and what an administrator registers.

use e2e::world::expect;
use e2e::{Credentials, Person, Service, World, secrets};
use serde_json::{Value, json};

use crate::browser::Browser;

/// Where clients have a browser sent back to. Nobody listens there: the address is all that matters.
pub(crate) const REDIRECT_URI: &str = "http://127.0.0.1/callback";
pub(crate) const AFTER_LOGOUT: &str = "http://127.0.0.1/signed-out";
/// What the demo user is called.
pub(crate) const NAME: &str = "Demo";
/// Clients may register themselves, and ask for what the platform has for customers.
const SETTINGS: &[(&str, &str)] = &[
    ("CLIENT_REGISTRATION", "token"),
    ("CLIENT_REGISTRATION_SCOPE", "openid profile email offline_access cart orders"),
];

pub(crate) struct Place {
    pub(crate) world: World,
    pub(crate) person: Credentials,
    admin: Person,
}

impl Place {
    pub(crate) async fn in_one_process() -> Self {
        Self::in_one_process_with(&[]).await
    }

    /// `settings` are added.
    pub(crate) async fn in_one_process_with(settings: &[(&str, &str)]) -> Self {
        Self::at(World::all_in_one(&[SETTINGS, settings].concat()).await).await
    }

    /// None, aloud, where PostgreSQL or Redis is not installed.
    pub(crate) async fn in_three_processes() -> Option<Self> {
        Some(Self::at(World::split(SETTINGS).await?).await)
    }

    async fn at(world: World) -> Self {
        let (person, admin) = (world.platform.demo().clone(), world.admin().await);
        Self { world, person, admin }
    }

    pub(crate) fn issuer(&self) -> String {
        self.world.platform.auth()
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::new(&self.world.platform, &self.person)
    }

    /// Registers a client as an administrator does. The answer holds its `client_id`, and its `client_secret` if it has one.
    pub(crate) async fn register(&self, metadata: &Value) -> Value {
        let url = self.admin.url(Service::Auth, "/admin/clients");
        expect(201, self.admin.post(&url, metadata).await).body
    }

    /// A token with which one client may register itself.
    pub(crate) async fn initial_access_token(&self) -> String {
        let url = self.admin.url(Service::Auth, "/admin/initial-access-tokens");
        let made = expect(201, self.admin.post(&url, &json!({})).await).body;
        let token = made["initial_access_token"].as_str().expect("a token").to_owned();
        secrets::remember(&token);
        token
    }

    pub(crate) fn finish(self) {
        self.world.finish();
    }
}
