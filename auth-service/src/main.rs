//! The auth service as a program: serves until SIGTERM or SIGINT, or does one task and ends.

use std::process::ExitCode;
use std::str::FromStr;

use anyhow::Context as _;
use auth_service::client_commands::{self, ClientCommand};
use auth_service::email::Email;
use auth_service::password::NewPassword;
use auth_service::roles::Roles;
use auth_service::signing_keys::{Rotate, SigningAlg};
use auth_service::storage::audit::{Act, By};
use auth_service::storage::users::{self, User};
use auth_service::{AuthService, Config, CreatedUser, accounts, end_session, open_database, start};
use clap::{Parser, Subcommand};
use secrecy::{ExposeSecret, SecretString};
use shared::config::Settings;
use shared::problem::Problem;
use shared::program;
use shared::session::{EndReason, SessionId};
use shared::telemetry::{self, TelemetryConfig};

/// Accounts, login, sessions, tokens and keys. Without a command it serves. Settings come from the environment.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Print all settings with their values, sources and meanings.
    Config,
    /// Bring the tables up to date.
    Migrate,
    /// Make and change accounts.
    #[command(subcommand)]
    User(UserCommand),
    /// Make, see, change and remove clients.
    #[command(subcommand)]
    Client(ClientCommand),
    /// Signing keys.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Sessions.
    #[command(subcommand)]
    Sessions(SessionsCommand),
}

#[derive(Subcommand)]
enum UserCommand {
    /// Make an account. The password is the line on the standard input, or, if that is empty, made up and printed.
    Create {
        email: Email,
        #[arg(default_value = "user")]
        roles: Vec<String>,
    },
    /// Set an account's roles, or take all away; its sessions end.
    SetRoles { email: Email, roles: Vec<String> },
    /// Unlock an account.
    Unlock { email: Email },
}

#[derive(Subcommand)]
enum KeysCommand {
    /// Make the next signing key of each algorithm. It is published first and signs later.
    Rotate {
        /// Of this algorithm only: EdDSA, ES256 or RS256.
        #[arg(long)]
        alg: Option<SigningAlg>,
        /// A private key is in a stranger's hands: sign with the new one now, and withdraw all others.
        #[arg(long)]
        at_once: bool,
    },
}

#[derive(Subcommand)]
enum SessionsCommand {
    /// End one session, by its id, or all of a user's, by the email address.
    End { which: Which },
}

#[derive(Clone)]
enum Which {
    Session(SessionId),
    UserWith(Email),
}

impl FromStr for Which {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let session = text.parse().map(Self::Session);
        session
            .or_else(|_| text.parse().map(Self::UserWith))
            .context("expected a session's id or a user's email address")
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    program::end(run().await)
}

async fn run() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut settings = Settings::from_env();
    let telemetry = TelemetryConfig::read(&mut settings);
    let config = Config::read(&mut settings, None);
    if matches!(arguments.command, Some(Command::Config)) {
        say(settings.describe().trim_end());
        return settings.finish();
    }
    settings.finish()?;
    let _telemetry = telemetry::start("auth-service", &telemetry)?;
    match arguments.command {
        None | Some(Command::Config) => serve(config).await,
        Some(Command::Migrate) => {
            open_database(&config).await?.close().await;
            say("the tables are up to date");
            Ok(())
        }
        Some(Command::User(command)) => user(&AuthService::open(&config).await?, command).await,
        Some(Command::Client(command)) => client_commands::run(&AuthService::open(&config).await?, command).await,
        Some(Command::Keys(KeysCommand::Rotate { alg, at_once })) => {
            let how = if at_once { Rotate::AtOnce } else { Rotate::Planned };
            for key in AuthService::open(&config).await?.keys.rotate(alg, how, &By::COMMAND_LINE).await? {
                let word = if key.made_now { "was made" } else { "was on its way already" };
                say(&format!("{} key {} {word}; it signs from {}", key.alg, key.kid, key.activates_at));
            }
            Ok(())
        }
        Some(Command::Sessions(command)) => sessions(&AuthService::open(&config).await?, command).await,
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let started = start(config).await?;
    for user in &started.created {
        announce(user);
    }
    shared::server::until_stopped(vec![started.running]).await;
    Ok(())
}

/// Shows a password that was made up: here, once, and never in a log.
fn announce(user: &CreatedUser) {
    if let Some(password) = &user.made_up_password {
        say(&format!("made {} ({}) with the password {}", user.email, user.roles, password.expose()));
    }
}

async fn user(service: &AuthService, command: UserCommand) -> anyhow::Result<()> {
    match command {
        UserCommand::Create { email, roles } => {
            let roles = Roles::new(roles)?;
            let given = given_password()?;
            let made_up = given.is_none().then(NewPassword::make_up);
            let password = given.or_else(|| made_up.clone()).context("a password is given or made up")?;
            let name = email.local_part().to_owned();
            let by = By::COMMAND_LINE;
            let created = accounts::create(service, Act::CreateUser, email, password, name, roles, &by).await;
            let user = created.map_err(failure)?.context("there is an account with this email address")?;
            say(&format!("made {} ({}), id {}", user.email, user.roles, user.id));
            announce(&CreatedUser { email: user.email, made_up_password: made_up, roles: user.roles });
        }
        UserCommand::Unlock { email } => {
            let user = find(service, &email).await?;
            let user = accounts::unlock(service, user.id, &By::COMMAND_LINE).await.map_err(failure)?;
            say(&format!("{} is not locked", user.email));
        }
        UserCommand::SetRoles { email, roles } => {
            let roles = Roles::new(roles)?;
            service.platform.must_be_the_services().await?;
            let user = find(service, &email).await?;
            let user = accounts::set_roles(service, user.id, &roles, &By::COMMAND_LINE).await.map_err(failure)?;
            say(&format!("{} has the roles: {}; its sessions have ended", user.email, user.roles));
        }
    }
    Ok(())
}

async fn sessions(service: &AuthService, command: SessionsCommand) -> anyhow::Result<()> {
    let (reason, by) = (EndReason::EndedByAdministrator, By::COMMAND_LINE);
    service.platform.must_be_the_services().await?;
    let SessionsCommand::End { which } = command;
    let ended = match which {
        Which::Session(session) => {
            usize::from(end_session::end(service, session, reason, &by).await.map_err(failure)?.is_some())
        }
        Which::UserWith(email) => {
            let user = find(service, &email).await?;
            end_session::end_all(service, user.id, None, reason, &by).await.map_err(failure)?
        }
    };
    say(&format!("{ended} session(s) ended"));
    Ok(())
}

async fn find(service: &AuthService, email: &Email) -> anyhow::Result<User> {
    users::by_email(&service.database, email).await?.context("there is no account with this email address")
}

fn given_password() -> anyhow::Result<Option<NewPassword>> {
    use std::io::{BufRead as _, IsTerminal as _};
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        // It would be echoed, and stay in the terminal's history.
        return Ok(None);
    }
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    let line = SecretString::from(line);
    let text = line.expose_secret().trim_end_matches(['\r', '\n']);
    if text.is_empty() { Ok(None) } else { Ok(Some(NewPassword::parse(text)?)) }
}

fn failure(problem: Problem) -> anyhow::Error {
    anyhow::Error::msg(problem.to_string())
}

#[expect(clippy::print_stdout, reason = "what a person asked for goes to the standard output")]
fn say(text: &str) {
    println!("{text}");
}
