//! `cargo xtask test --compose`: the images built, brought up by the README's words, tested and taken down. Owns one Compose
//! project with a name, a port, a network and image tags of its own; never touches another.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use e2e::containers::{ADMIN_VARIABLES, COMPOSE_VARIABLE, PORT_VARIABLE};
use e2e::servers::UNLIMITED;
use e2e::{probe, process::free_port};

use super::{Outcome, Results, run_tests};
use crate::children::{Interruption, cargo, run as run_child, workspace};
use crate::screen::Screen;

/// What the README says to bring it up.
const UP: &str = "docker compose up --build";
/// From its order to start until the gateway answers, after the build.
const START_PATIENCE: Duration = Duration::from_secs(180);
/// From the first order to take it down, which may have to be repeated.
const DOWN_PATIENCE: Duration = Duration::from_secs(120);
/// The settings that the tests need, beside those of docker-compose.yml.
const MORE_SETTINGS: &str = "e2e/tests/containers/settings.yaml";
const ADMIN_EMAIL: &str = "admin@example.com";
const TESTS: [&str; 5] = ["test", "--package", "e2e", "--test", "containers"];
/// The images that are built.
const IMAGES: [&str; 5] = ["auth-service", "cart-service", "order-service", "gateway", "secrets"];

/// Runs the tests of the containers that `filter` lets through.
///
/// # Errors
/// There is no engine, the images cannot be built, they do not come up, or the developer stopped us; what was brought up is
/// taken down first.
pub(super) async fn run(
    filter: &[String],
    screen: &Screen,
    interruption: &mut Interruption,
) -> anyhow::Result<(Results, Outcome)> {
    let mut project = Project::new(Compose::find()?)?;
    let results = Results::open("xtask-test-compose")?;

    screen.step("building the tests");
    let built = run_child(cargo(&[&TESTS[..], &["--no-run"]].concat()), interruption, |line| screen.line(line)).await?;
    ensure!(built.success(), "the tests cannot be built");

    let tested = project.tested(filter, &results, screen, interruption).await;
    // Whatever happened, it is taken down. Whoever is in a hurry may stop that too.
    screen.step("taking the containers down");
    let kept = project.keep_output(&results);
    project.down(screen, &mut Interruption::watch()?).await?;
    let mut outcome = tested?;
    outcome.faults.extend(kept?);
    Ok((results, outcome))
}

/// How Compose is called here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compose {
    /// Compose 2: `docker compose`.
    Plugin,
    /// Compose 1.29, or a newer one's own program: `docker-compose`.
    Program,
}

impl Compose {
    /// # Errors
    /// There is no engine that answers, or no Compose.
    fn find() -> anyhow::Result<Self> {
        let engine =
            quiet("docker", &["info"]).output().context("there is no docker (on Debian: the package docker.io)")?;
        ensure!(
            engine.status.success(),
            "the Docker engine does not answer: {}",
            String::from_utf8_lossy(&engine.stderr).trim()
        );
        let answers = |form: &Self| {
            let (program, first) = form.words();
            let arguments = [first, &["version"]].concat();
            quiet(program, &arguments).output().is_ok_and(|output| output.status.success())
        };
        let found = [Self::Plugin, Self::Program].into_iter().find(answers);
        found.context("there is no Compose (on Debian: the package docker-compose)")
    }

    fn words(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Plugin => ("docker", &["compose"]),
            Self::Program => ("docker-compose", &[]),
        }
    }

    fn text(self) -> String {
        let (program, first) = self.words();
        [&[program], first].concat().join(" ")
    }
}

fn quiet(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command
}

/// One Compose project, from the file of the repository.
struct Project {
    compose: Compose,
    name: String,
    port: u16,
    /// Three numbers: the first part of its inner network's addresses.
    network: String,
}

impl Project {
    fn new(compose: Compose) -> anyhow::Result<Self> {
        let name = format!("roam-test-{}", std::process::id());
        let networks = answer(quiet("docker", &["network", "ls", "--quiet", "--no-trunc"]))?;
        let mut inspect =
            quiet("docker", &["network", "inspect", "--format", "{{range .IPAM.Config}}{{.Subnet}} {{end}}"]);
        inspect.args(networks.lines());
        let network = free_network(&answer(inspect)?).context("no network is free for the test")?;
        Ok(Self { compose, name, port: free_port()?, network })
    }

    /// What Compose reads from the environment.
    fn settings(&self) -> [(&'static str, String); 11] {
        let more = workspace().join(MORE_SETTINGS);
        [
            ("COMPOSE_PROJECT_NAME", self.name.clone()),
            ("COMPOSE_FILE", format!("{}:{}", workspace().join("docker-compose.yml").display(), more.display())),
            ("COMPOSE_HTTP_TIMEOUT", "300".to_owned()),
            ("DOCKER_BUILDKIT", "1".to_owned()),
            ("COMPOSE_DOCKER_CLI_BUILD", "1".to_owned()),
            ("BUILDKIT_PROGRESS", "plain".to_owned()),
            ("ADMIN_EMAIL", ADMIN_EMAIL.to_owned()),
            ("GATEWAY_PORT", self.port.to_string()),
            // All people of the tests share one address.
            (UNLIMITED.0, UNLIMITED.1.to_owned()),
            ("INNER_NETWORK", self.network.clone()),
            ("ROAM_TAG", self.name.clone()),
        ]
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let (program, first) = self.compose.words();
        let mut command = quiet(program, first);
        command.args(arguments).envs(self.settings()).current_dir(workspace());
        command
    }

    async fn tested(
        &mut self,
        filter: &[String],
        results: &Results,
        screen: &Screen,
        interruption: &mut Interruption,
    ) -> anyhow::Result<Outcome> {
        self.up(results, screen, interruption).await?;
        let password = answer(self.command(&["run", "--rm", "-T", "secrets", "show", "admin_password"]))?;
        self.keep_secrets(results)?;
        screen.step("testing");
        let [email_variable, password_variable] = ADMIN_VARIABLES;
        let command = || {
            let mut command = cargo(&TESTS);
            command.arg("--no-fail-fast").args(filter);
            command.envs(self.settings()).env(PORT_VARIABLE, self.port.to_string());
            command.env(email_variable, ADMIN_EMAIL).env(password_variable, password.trim());
            command.env(COMPOSE_VARIABLE, self.compose.text());
            command
        };
        run_tests(command, results, screen, interruption).await
    }

    /// Builds and starts it, and waits until the gateway answers, which starts last.
    async fn up(&self, results: &Results, screen: &Screen, interruption: &mut Interruption) -> anyhow::Result<()> {
        let readme = fs::read_to_string(workspace().join("README.md"))?;
        ensure!(readme.lines().any(|line| line == UP), "the README does not say {UP:?}, which is what is tested here");
        let words: Vec<&str> = UP.split(' ').skip(2).collect();
        let started = Instant::now();
        screen.step("building the images and starting the containers");
        let path = results.services().join("compose.log");
        let mut log = OpenOptions::new().create(true).append(true).open(&path)?;
        let mut last = Vec::new();
        let up = self.command(&[&words[..], &["--detach"]].concat());
        let status = run_child(up, interruption, |line| {
            // What cannot be kept here stands in what the developer sees.
            let _ = writeln!(log, "{line}");
            screen.progress(format!("building the images and starting the containers: {line}"));
            if !screen.is_terminal() && is_a_step(line) {
                screen.line(line);
            }
            last.push(line.to_owned());
        })
        .await?;
        if !status.success() {
            last[last.len().saturating_sub(60)..].iter().for_each(|line| screen.line(line));
        }
        ensure!(status.success(), "`{UP}` fails: {}", path.display());
        let standing = Instant::now();
        screen.line(&format!("up after {} s", started.elapsed().as_secs()));
        while !probe::get(self.port, "/gateway/healthz").is_ok_and(|answer| answer.status == 200) {
            interruption.check().await?;
            ensure!(standing.elapsed() < START_PATIENCE, "the gateway does not answer after {START_PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// All secrets that were made for this project are looked for in the output.
    fn keep_secrets(&self, results: &Results) -> anyhow::Result<()> {
        let volume = format!("{}_secrets-kept:/kept:ro", self.name);
        let image = format!("roam/secrets:{}", self.name);
        let script = "for file in /kept/*; do cat \"$file\"; echo; done";
        let run =
            ["run", "--rm", "--network", "none", "--volume", &volume, "--entrypoint", "bash", &image, "-c", script];
        let mut secrets = OpenOptions::new().create(true).append(true).open(results.secrets())?;
        Ok(secrets.write_all(answer(quiet("docker", &run))?.as_bytes())?)
    }

    /// Keeps what the containers printed. Answers what the engine has against one of them.
    fn keep_output(&self, results: &Results) -> anyhow::Result<Vec<String>> {
        let label = format!("label=com.docker.compose.project={}", self.name);
        let list = answer(quiet("docker", &["ps", "--all", "--filter", &label, "--format", "{{.Names}}"]))?;
        let mut faults = Vec::new();
        for name in list.lines() {
            keep_log(name, &results.services().join(format!("{name}.log")))?;
            let format = "{{.RestartCount}} {{.State.OOMKilled}}";
            let told = answer(quiet("docker", &["inspect", "--format", format, name]))?;
            if told.trim() != "0 false" {
                faults.push(format!("{name} ended by itself (restarts, killed for its memory: {})", told.trim()));
            }
        }
        Ok(faults)
    }

    /// Takes all of it down. The engine calls a container ended before it has let go of its network, which then "has active
    /// endpoints": on a busy machine it takes more than one order.
    async fn down(&self, screen: &Screen, interruption: &mut Interruption) -> anyhow::Result<()> {
        let by_hand =
            format!("take it down by hand: COMPOSE_PROJECT_NAME={} {} down --volumes", self.name, self.compose.text());
        let began = Instant::now();
        loop {
            let down = self.command(&["down", "--volumes", "--remove-orphans", "--timeout", "10"]);
            let mut said = Vec::new();
            let run = run_child(down, interruption, |line| said.push(line.to_owned())).await;
            if run.with_context(|| by_hand.clone())?.success() {
                break;
            }
            said.iter().for_each(|line| screen.line(line));
            self.left_on_networks().iter().for_each(|line| screen.line(line));
            ensure!(began.elapsed() < DOWN_PATIENCE, "{by_hand}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let images = IMAGES.map(|image| format!("roam/{image}:{}", self.name));
        // Not all of them are there when the build was stopped.
        let _ = quiet("docker", &["image", "rm"]).args(images).output();
        Ok(())
    }

    /// Who still holds a network of this project, for whoever looks into a failure.
    fn left_on_networks(&self) -> Vec<String> {
        let label = format!("label=com.docker.compose.project={}", self.name);
        let networks = answer(quiet("docker", &["network", "ls", "--filter", &label, "--format", "{{.Name}}"]));
        let format = "{{.Name}}: {{range .Containers}}{{.Name}} {{end}}";
        let held = |network| answer(quiet("docker", &["network", "inspect", "--format", format, network]));
        networks.unwrap_or_default().lines().filter_map(|network| held(network).ok()).collect()
    }
}

/// What a program prints on its standard output.
fn answer(mut command: Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot be started: {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

fn keep_log(container: &str, path: &Path) -> anyhow::Result<()> {
    let file = fs::File::create(path)?;
    let mut logs = quiet("docker", &["logs", "--timestamps", container]);
    let status = logs.stdout(file.try_clone()?).stderr(file).status()?;
    ensure!(status.success(), "the output of {container} cannot be read");
    Ok(())
}

/// The first three numbers of a network that none of those in the list holds.
fn free_network(taken: &str) -> Option<String> {
    let first_two = "10.231";
    let third = |number: &u8| {
        let own = format!("{first_two}.{number}.");
        // A network of more than 256 addresses around them begins otherwise: that of all these is left alone.
        !taken.split_whitespace().any(|subnet| subnet.starts_with(&own) || subnet.starts_with("10.231.0.0/"))
    };
    (1..=250).find(third).map(|number| format!("{first_two}.{number}"))
}

/// Whether a line of BuildKit or Compose begins something, and is not what a step itself prints (`#12 3.4 …`).
fn is_a_step(line: &str) -> bool {
    match line.strip_prefix('#') {
        Some(step) => step.split_once(' ').is_some_and(|(_, text)| text.starts_with('[') || text.starts_with("ERROR")),
        None => !line.trim().is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_is_taken_is_passed_over() {
        assert_eq!(free_network("172.17.0.0/16 \n").as_deref(), Some("10.231.1"));
        assert_eq!(free_network("10.231.1.0/24 \n 10.231.2.0/25").as_deref(), Some("10.231.3"));
        assert_eq!(free_network("10.231.0.0/16"), None);
    }

    #[test]
    fn of_a_build_the_steps_are_told() {
        for step in ["#12 [build 11/11] RUN cargo build", "#12 ERROR: it fails", "Creating roam_redis_1 ... done"] {
            assert!(is_a_step(step), "{step}");
        }
        for noise in ["#12 3.456 Compiling serde v1.0.0", "#12 CACHED", "#12 DONE 0.1s", ""] {
            assert!(!is_a_step(noise), "{noise}");
        }
    }
}
