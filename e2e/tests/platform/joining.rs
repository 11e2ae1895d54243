//! `docs/joining.md` as a team follows it: its crate is built outside of the workspace, and its commands are run as they stand.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use e2e::process::{Process, free_port, mortal, wait_until};
use e2e::servers::{PrivateRedis, bash, redis_for_test};
use e2e::{Service, probe};
use rustix::process::Signal;

use crate::World;
use crate::browser::Browser;

const PATIENCE: Duration = Duration::from_secs(60);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository is there")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The blocks of a page in one language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let begins = format!("```{language}\n");
    page.split(&begins).skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}

/// A team beside the clone of the platform, with the manual before it.
struct Team {
    manual: String,
    folder: tempfile::TempDir,
    redis: PrivateRedis,
    port: u16,
}

impl Team {
    fn arrives(redis: PrivateRedis) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["roam", "wish-service/src"] {
            fs::create_dir_all(folder.path().join(name)).expect("a folder");
        }
        Self { manual: read("docs/joining.md"), folder, redis, port: free_port().expect("a free port") }
    }

    fn folder_of(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// All commands of the manual: for the platform, for the client, for the service, and to try it.
    fn commands(&self) -> [String; 4] {
        let found = blocks(&self.manual, "sh").try_into();
        found.unwrap_or_else(|found: Vec<String>| panic!("a test runs four blocks, not {}", found.len()))
    }

    /// What the first block sets, where it starts the platform by nothing else.
    fn platforms_settings(&self) -> Vec<(String, String)> {
        let [platform, ..] = self.commands();
        let lines: Vec<&str> = platform.lines().collect();
        let ["cargo run"] = lines[1..] else { panic!("{platform}") };
        let exports = lines[0].strip_prefix("export ").expect("settings").split(' ');
        let pairs = exports.map(|pair| pair.split_once('=').expect("NAME=VALUE"));
        pairs
            .map(|(name, value)| (name.to_owned(), value.replace("redis://localhost:6379", &self.redis.url())))
            .collect()
    }

    /// With the addresses of this test in place of those of the manual.
    fn here(&self, text: &str, world: &World) -> String {
        text.replace("redis://localhost:6379", &self.redis.url())
            .replace("http://localhost:8081", &world.platform.auth())
            .replace("http://localhost:8082", &world.platform.cart())
            .replace("localhost:8084", &format!("localhost:{}", self.port))
    }

    /// Builds the crate of the manual with what the workspace has compiled, as far as its features are the same. Answers the
    /// program.
    fn builds(&self) -> PathBuf {
        let crate_ = self.folder_of("wish-service");
        let [manifest] = &blocks(&self.manual, "toml")[..] else { panic!("one Cargo.toml") };
        let shared = root().join("shared").display().to_string();
        assert!(manifest.contains("../roam/shared"), "{manifest}");
        let workspace = read("Cargo.toml");
        let profiles = workspace.split_once("[profile.dev]").and_then(|(_, rest)| rest.split_once("[profile.release]"));
        let profiles = format!("\n[profile.dev]{}", profiles.expect("the workspace has profiles").0);
        fs::write(crate_.join("Cargo.toml"), manifest.replace("../roam/shared", &shared) + &profiles)
            .expect("it is written");
        fs::write(crate_.join("Cargo.lock"), read("Cargo.lock")).expect("it is written");
        fs::write(crate_.join("src/main.rs"), &blocks(&self.manual, "rust")[0]).expect("it is written");
        // TARGET/PROFILE/deps/TEST
        let test = std::env::current_exe().expect("a path");
        let target = test.ancestors().nth(3).expect("a target folder");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--offline", "--quiet", "--target-dir"]).arg(target).current_dir(&crate_);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_", "OUT_DIR"]
                .iter()
                .any(|prefix| text.starts_with(prefix))
            {
                cargo.env_remove(&name);
            }
        }
        let built = cargo.output().expect("cargo starts");
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success() && !said.contains("warning: unused"), "the crate of the manual:\n{said}");
        target.join("debug/wish-service")
    }

    /// Runs a block beside the platform, with its settings.
    fn runs(&self, block: &str, world: &World) -> Output {
        let mut shell = Command::new(bash().expect("bash"));
        shell.args(["-euo", "pipefail", "-c", &self.here(block, world)]).current_dir(self.folder_of("roam"));
        shell.env_clear();
        for (name, value) in world.platform.command(Service::Auth).get_envs() {
            shell.env(name, value.unwrap_or_default());
        }
        let programs = e2e::program("all-in-one");
        let folder = programs.parent().expect("a folder").display().to_string();
        shell.env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap_or_default()));
        shell.output().expect("bash starts")
    }

    /// Runs the block that starts the service, with this program in place of `cargo run`. Its output goes to the file `log`.
    fn starts(&self, block: &str, program: &Path, world: &World) -> Process {
        let script = format!("cargo() {{ exec {}; }}\n{}", program.display(), self.here(block, world));
        let mut shell = mortal(&bash().expect("bash"), "KILL");
        shell.args(["-euo", "pipefail", "-c", &script]).current_dir(self.folder_of("wish-service")).env_clear();
        shell.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        shell.env("WISH_ADDR", format!("127.0.0.1:{}", self.port));
        let log = File::create(self.folder_of("log")).expect("a file");
        shell.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        Process::start("the service of the manual", shell).expect("bash starts")
    }

    fn logged(&self) -> String {
        fs::read_to_string(self.folder_of("log")).unwrap_or_default()
    }

    /// Waits until `/readyz` answers so.
    fn is_ready(&self, status: u16, body: &str) {
        let asked = || probe::get(self.port, "/readyz");
        let answered = wait_until(PATIENCE, || {
            Ok(asked().is_ok_and(|answer| answer.status == status && answer.body.contains(body)))
        });
        assert!(answered.expect("it is asked"), "{:?}\n{}", asked(), self.logged());
    }
}

fn succeeded(output: &Output) -> String {
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "it fails:\n{text}\n{errors}");
    text.into_owned()
}

#[tokio::test]
async fn a_service_of_another_team_joins_as_the_manual_says() {
    let Some(redis) = redis_for_test() else { return };
    let team = Team::arrives(redis);
    let settings = team.platforms_settings();
    let settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let world = World::all_in_one(&settings).await;
    let [_, client, start, try_it] = team.commands();

    succeeded(&team.runs(&client, &world));
    let made = team.folder_of("roam/wish-service.client.json");
    let mode = fs::metadata(&made).expect("it is written").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "the secret is for nobody else");
    let program = team.builds();
    let mut process = team.starts(&start, &program, &world);
    team.is_ready(200, "ready");
    let said = succeeded(&team.runs(&try_it, &world));
    assert!(said.contains("ready") && said.contains("a longer day, for "), "{said}");
    assert!(said.ends_with("\n401\n"), "she has left: {said}");

    // In a browser: the page, and what another service says in the visitor's name.
    let mut browser = Browser::new(&world.platform, world.platform.demo());
    let address = |path: &str| format!("http://localhost:{}{path}", team.port);
    assert_eq!(browser.reads(&address("/")).await, "The wishes of Demo.");
    let basket = browser.reads(&address("/basket")).await;
    assert!(basket.contains("\"lines\""), "the cart of the visitor: {basket}");
    let page = reqwest::Client::new().get(address("/wishes")).header("accept", "text/html").send().await;
    let page = page.expect("an answer");
    assert_eq!(page.status(), 401);
    assert!(page.text().await.expect("a page").contains("Code: authentication_required"));

    // With another number of the database it says so, and lets nobody in.
    process.stop(Signal::TERM, PATIENCE).expect("it stops");
    let wrong = start.replace("redis://localhost:6379/0", "redis://localhost:6379/1");
    let _process = team.starts(&wrong, &program, &world);
    team.is_ready(503, "REDIS_URL leads here to a Redis");
    assert!(team.logged().contains("REDIS_URL leads here to a Redis"), "{}", team.logged());
    let ada = world.platform.customer().await;
    let refused = ada.get(&address("/wishes")).await;
    assert_eq!((refused.status, refused.code()), (503, "misconfigured_platform"), "{}", refused.body);
    world.finish();
}
