//! `auth-service client …` and `all-in-one client …`: clients, as an operator with a shell makes, sees, changes and removes
//! them. Prints JSON.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde::Serialize;
use serde_json::{Map, Value, json};
use shared::config::Setting as _;
use shared::problem::Problem;

use crate::AuthService;
use crate::clients::administered::{ChangedClient, NewClient};
use crate::clients::information::AdministeredClient;
use crate::clients::registration::{self, InitialTokenPlan};
use crate::clients::registry;
use crate::clients::secret::LONGEST_FORMER_LIFE;
use crate::storage::audit::By;
use crate::storage::clients as storage;

/// How many clients are read at once.
const PAGE: i64 = 100;

/// What is done with clients.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Make a client. The standard input is its metadata (RFC 7591) as JSON, with client_id, first_party, approved and
    /// disabled where they are wanted. A secret, where it needs one, is made up and printed.
    Create,
    /// Print all clients.
    List,
    /// Print a client.
    Show { id: String },
    /// Give a client the metadata on the standard input; what is left out there gets its default.
    Update { id: String },
    /// Vouch for a client that registered itself: browsers are sent to it without a page in between. LOOKS is what `client show`
    /// prints as `looks`: a client that has changed since is not approved.
    Approve { id: String, looks: String },
    /// Make a new secret up and print it; the old one is good for a while beside it.
    RotateSecret {
        id: String,
        /// How long the old one is good: 0s where it was stolen, at most 30d.
        #[arg(long, default_value = "1d", value_parser = kept_for)]
        keep_old_for: Duration,
    },
    /// Remove a client.
    Delete { id: String },
    /// Make a token with which clients may register themselves.
    InitialToken {
        /// How many may.
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// For how long, such as 1h.
        #[arg(long, default_value = "1d", value_parser = Duration::parse)]
        expires_in: Duration,
    },
}

/// Does it. The sessions of a process that runs beside this one, and keeps them in its memory, are out of reach here.
///
/// # Errors
/// What is refused, or does not answer, in words for an operator.
pub async fn run(service: &AuthService, command: ClientCommand) -> anyhow::Result<()> {
    let by = By::COMMAND_LINE;
    match command {
        ClientCommand::Create => {
            let new = NewClient::read(given()?)?;
            let made = registry::create(service, new.id, new.decided, &by).await.map_err(failure)?;
            print(&AdministeredClient::from(made))
        }
        ClientCommand::List => print(&all(service).await?),
        ClientCommand::Show { id } => {
            print(&AdministeredClient::from(registry::by_id(service, &id).await.map_err(failure)?))
        }
        ClientCommand::Update { id } => {
            let changed = ChangedClient::read(&id, given()?)?;
            let client = registry::replace(service, &id, changed.decided, changed.new_secret, &by).await;
            print(&AdministeredClient::from(client.map_err(failure)?))
        }
        ClientCommand::Approve { id, looks } => {
            print(&AdministeredClient::from(registry::approve(service, &id, &looks, &by).await.map_err(failure)?))
        }
        ClientCommand::RotateSecret { id, keep_old_for } => {
            let rotated = registry::rotate_secret(service, &id, keep_old_for, &by).await;
            print(&AdministeredClient::from(rotated.map_err(failure)?))
        }
        ClientCommand::Delete { id } => {
            if service.sessions.remembers_since().is_some() {
                let next = "remove it there: DELETE /admin/clients/{client_id}, as an administrator";
                bail!(
                    "sessions are in the memory of the service that runs, and what the client has in them is to end: {next}"
                );
            }
            registry::delete(service, &id, &by).await.map_err(failure)?;
            print(&json!({"deleted": id}))
        }
        ClientCommand::InitialToken { uses, expires_in } => {
            let plan = InitialTokenPlan::new(uses, expires_in).map_err(anyhow::Error::msg)?;
            let (token, expires_at) = registration::make_initial_token(service, &plan, &by).await.map_err(failure)?;
            print(&json!({"initial_access_token": token, "expires_at": expires_at, "uses": uses}))
        }
    }
}

fn kept_for(text: &str) -> Result<Duration, String> {
    Duration::parse(text)
        .and_then(|keep| if keep <= LONGEST_FORMER_LIFE { Ok(keep) } else { Err("expected at most 30d".to_owned()) })
}

async fn all(service: &AuthService) -> anyhow::Result<Vec<AdministeredClient>> {
    let (mut shown, mut after) = (Vec::new(), String::new());
    loop {
        let page = storage::page(&service.database, &after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(shown) };
        after.clone_from(&last.id);
        shown.extend(page.into_iter().map(AdministeredClient::from));
    }
}

fn given() -> anyhow::Result<Map<String, Value>> {
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text)?;
    serde_json::from_str(&text).context("expected the client's metadata as a JSON object on the standard input")
}

#[expect(clippy::print_stdout, reason = "what a person asked for goes to the standard output")]
fn print(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

fn failure(problem: Problem) -> anyhow::Error {
    anyhow::Error::msg(problem.to_string())
}
