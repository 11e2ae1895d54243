//! Web applications that sign people in by a library of others: a program of e2e/clients runs one as its developer would, with
//! the library's own defaults, and the test is the person who uses it.

use std::process::Stdio;
use std::time::Duration;

use e2e::process::free_port;
use e2e::{Credentials, secrets};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use crate::browser::{Browser, Page};
use crate::place::{NAME, Place};

/// A program loads a hundred packages first, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// More pages than any library has on the way in or out.
const MAX_PAGES: usize = 4;

/// What is registered for a library, and what it does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Library {
    /// The path to which it has a browser sent back.
    pub(crate) callback: &'static str,
    /// Where it has a browser sent after the sign-out, as it writes the address.
    pub(crate) after_logout: Option<&'static str>,
    /// Where the auth service tells it that a session has ended (OpenID Connect Back-Channel Logout).
    pub(crate) backchannel_logout: Option<&'static str>,
    /// What its application knows of a person: `name`, `email`, `username`.
    pub(crate) knows: &'static [&'static str],
    pub(crate) sign_out: SignOut,
    /// Whether its application has a page at `/refresh` that fetches another access token.
    pub(crate) refreshes: bool,
}

/// A library that shows all that it may know, and signs out at its application alone.
pub(crate) const PLAIN: Library = Library {
    callback: "/callback",
    after_logout: None,
    backchannel_logout: None,
    knows: &["name", "email", "username"],
    sign_out: SignOut::Here,
    refreshes: false,
};

/// What is left of a login after the sign-out at an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignOut {
    /// Nothing: the library knows RP-Initiated Logout.
    Everywhere,
    /// The session at the auth service: whoever comes back is signed in without a question.
    Here,
}

/// Where an application is, and what a person does there.
pub(crate) struct Home(String);

impl Home {
    pub(crate) fn at_port(port: u16) -> Self {
        Self(format!("http://localhost:{port}"))
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// Goes to its first page, and signs in where that asks for it.
    ///
    /// # Panics
    /// That leads to no page that shows the person.
    pub(crate) async fn is_entered(&self, browser: &mut Browser, person: &Credentials) -> Page {
        let mut page = browser.opens(&self.at("/")).await;
        for _ in 0..MAX_PAGES {
            if page.text.contains(&person.email) {
                return page;
            }
            let next = match browser.press(&page, "Sign in").await {
                Some(next) => Some(next),
                None => browser.press(&page, "Continue").await,
            };
            page = next.unwrap_or_else(|| panic!("no way in at {}: {}", page.at, page.text));
        }
        panic!("{} shows nobody: {}", page.at, page.text);
    }

    /// Signs out, and says so again where that is asked. Some applications begin the next sign-in at once.
    pub(crate) async fn is_left(&self, browser: &mut Browser, person: &Credentials, page: Page) {
        let mut page = browser.press(&page, "Sign out").await.expect("a way out");
        for _ in 0..MAX_PAGES {
            // The auth service's own page has ways of its own.
            if !page.at.as_str().starts_with(&self.0) || page.text.contains(&person.email) {
                return;
            }
            match browser.press(&page, "Sign out").await {
                Some(next) => page = next,
                None => return,
            }
        }
        panic!("no end of the sign-out: {}", page.at);
    }
}

/// An application that a program serves. It ends with its value.
pub(crate) struct Application {
    pub(crate) home: Home,
    child: Child,
    /// Closed when the person leaves.
    _input: ChildStdin,
}

impl Application {
    /// Registers the application and starts it. `more` is told to the program beside.
    ///
    /// # Panics
    /// It does not listen in time; the message holds what it printed.
    pub(crate) async fn start(place: &Place, mut command: Command, library: &Library, more: Value) -> Self {
        let port = free_port().expect("a free port");
        let home = Home::at_port(port);
        let mut given = registered(place, &home, library).await;
        (given["issuer"], given["port"]) = (json!(place.issuer()), json!(port));
        given.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        command.kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program can be started");
        let mut input = child.stdin.take().expect("its input");
        // A program that has ended tells why on its own.
        let _ = input.write_all(format!("{given}\n").as_bytes()).await;
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let said = timeout(PATIENCE, lines.next_line()).await.expect("it says something in time");
        let mut application = Self { home, child, _input: input };
        if said.expect("its output can be read").as_deref() != Some("listening") {
            panic!("the application does not start:\n{}", application.complaint().await);
        }
        application
    }

    async fn complaint(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut errors) = self.child.stderr.take() {
            let _ = errors.read_to_string(&mut text).await;
        }
        text
    }
}

/// Registers an application with its name, its addresses and its grants, and no other words. Answers id and secret.
pub(crate) async fn registered(place: &Place, home: &Home, library: &Library) -> Value {
    let mut metadata = json!({"client_name": "An application", "redirect_uris": [home.at(library.callback)]});
    if let Some(after) = library.after_logout {
        metadata["post_logout_redirect_uris"] = json!([home.at(after)]);
    }
    if let Some(told) = library.backchannel_logout {
        metadata["backchannel_logout_uri"] = json!(home.at(told));
    }
    if library.refreshes {
        metadata["grant_types"] = json!(["authorization_code", "refresh_token"]);
    }
    let made = place.register(&metadata).await;
    secrets::remember(made["client_secret"].as_str().expect("a secret"));
    json!({"client_id": made["client_id"], "client_secret": made["client_secret"]})
}

/// A person comes to an application that a program serves, is shown there, has the tokens renewed, signs out, and comes back.
pub(crate) async fn signs_a_person_in_and_out(command: Command, library: Library) {
    let place = Place::in_one_process().await;
    let application = Application::start(&place, command, &library, json!({})).await;
    is_used(&place, &application.home, &library).await;
    place.finish();
}

/// The same at an application that is served already.
pub(crate) async fn is_used(place: &Place, home: &Home, library: &Library) {
    let (mut browser, person) = (place.browser(), &place.person);
    let page = home.is_entered(&mut browser, person).await;
    for known in library.knows {
        let value = if *known == "name" { NAME } else { &person.email };
        assert!(page.text.contains(&format!("<li>{known}: {value}</li>")), "{known} is not known: {}", page.text);
    }
    assert_eq!(browser.filled, ["/sign-in", "/consent"], "the password and the consent are asked for once");

    if library.refreshes {
        let refreshed = browser.reads(&home.at("/refresh")).await;
        assert!(refreshed.to_lowercase().contains("<li>refreshed: true</li>"), "no other access token: {refreshed}");
    }

    home.is_left(&mut browser, person, page).await;
    if library.sign_out == SignOut::Here {
        let page = browser.opens(&home.at("/")).await;
        assert!(!page.text.contains(&person.email), "still signed in: {}", page.text);
    }
    home.is_entered(&mut browser, person).await;
    let again: &[&str] = if library.sign_out == SignOut::Here { &[] } else { &["/sign-in"] };
    assert_eq!(browser.filled[2..], *again, "what is asked of a person who comes back");
}
