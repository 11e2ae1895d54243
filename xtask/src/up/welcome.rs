//! What the terminal shows when the platform runs: the addresses, the first accounts (once), and the README's story.

use std::fmt::Write as _;
use std::fs;

use e2e::services::Service;

use super::accounts::NewAccount;
use super::data::Data;
use super::processes::Processes;
use crate::children::workspace;

/// The text for the terminal. It holds the passwords that were made up: it is for no log.
///
/// # Errors
/// The platform does not run.
pub(super) fn welcome(processes: &Processes, data: &Data, accounts: &[NewAccount]) -> anyhow::Result<String> {
    let mut text = "\nThe platform runs: one sign-in, three services, a gateway before their replicas.\n\n".to_owned();
    for service in Service::ALL {
        let (url, name) = (processes.url(service)?, service.host().split('.').next().unwrap_or_default());
        let replicas: Vec<String> =
            processes.ports_of(service).iter().map(|port| format!("http://127.0.0.1:{port}")).collect();
        let _ = writeln!(text, "  {name:7} {url}   {url}/docs   its replicas: {}", replicas.join(" "));
    }
    let (postgres, redis) = processes.ports_of_stores()?;
    let _ = write!(
        text,
        "\n  PostgreSQL is at 127.0.0.1:{postgres}, Redis at 127.0.0.1:{redis}. Passwords, keys and logs are in {}\n",
        data.path("").display()
    );
    text.push_str(&shown(accounts));
    if let Some(story) = story(processes)? {
        let _ = write!(text, "\nTry it, in another terminal:\n\n{story}\n");
    }
    text.push_str(
        "Kill a replica, and nobody notices. Ctrl-C stops everything; accounts, carts, orders and sessions stay.\n",
    );
    Ok(text)
}

fn shown(accounts: &[NewAccount]) -> String {
    if accounts.is_empty() {
        return "\nAccounts, carts and orders are those of the starts before.\n".to_owned();
    }
    let rows: String = accounts.iter().map(|account| format!("  {}  {}\n", account.email, account.password)).collect();
    format!("\nAccounts of this first start, with made-up passwords that are shown only now:\n\n{rows}")
}

/// The README's story, which a test runs, with the addresses of the gateway.
fn story(processes: &Processes) -> anyhow::Result<Option<String>> {
    let readme = fs::read_to_string(workspace().join("README.md"))?;
    let mut blocks = readme.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let Some(story) = blocks.find(|block| block.contains("curl")) else { return Ok(None) };
    let mut story = story.to_owned();
    for (service, port) in [(Service::Auth, 8081), (Service::Cart, 8082), (Service::Orders, 8083)] {
        story = story.replace(&format!("http://localhost:{port}"), &processes.url(service)?);
    }
    Ok(Some(story))
}
