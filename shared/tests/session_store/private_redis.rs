//! A Redis of one test's own, which may be stopped, paused and started again.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use deadpool_redis::redis as raw;
use tempfile::TempDir;

/// A server on a port of its own, without persistence. It is killed when this is dropped.
pub(crate) struct PrivateRedis {
    port: u16,
    folder: TempDir,
    process: Option<Child>,
}

impl PrivateRedis {
    /// Starts one, or says that this test is left to `cargo xtask test` where there is no `redis-server`.
    pub(crate) async fn start() -> Option<Self> {
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            assert!(
                std::env::var_os("ROAM_REQUIRE_SERVERS").is_none(),
                "redis-server is not installed, and is required"
            );
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            eprintln!("left to `cargo xtask test`: {test} on a Redis of its own");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut redis = Self { port, folder: tempfile::tempdir().unwrap(), process: None };
        redis.start_again().await;
        Some(redis)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it on its port, again and again if another process has the port for a moment.
    pub(crate) async fn start_again(&mut self) {
        let started = Instant::now();
        while !self.is_running().await {
            assert!(started.elapsed() < Duration::from_secs(20), "redis-server does not start on port {}", self.port);
            let ended = |process: &mut Child| process.try_wait().unwrap().is_some();
            if self.process.as_mut().is_none_or(ended) {
                let port = self.port.to_string();
                let mut command = Command::new("redis-server");
                command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]);
                self.process = Some(command.arg(self.folder.path()).stdout(Stdio::null()).spawn().unwrap());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether this very process answers on the port.
    async fn is_running(&self) -> bool {
        let Some(process) = &self.process else { return false };
        let client = raw::Client::open(self.url()).unwrap();
        let Ok(mut connection) = client.get_multiplexed_async_connection().await else { return false };
        let info: raw::RedisResult<String> = raw::cmd("INFO").arg("server").query_async(&mut connection).await;
        info.is_ok_and(|info| info.contains(&format!("process_id:{}\r\n", process.id())))
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Lets it hang, connections and all; `false` wakes it.
    pub(crate) fn pause(&self, pause: bool) {
        let pid = self.process.as_ref().unwrap().id().to_string();
        let signal = if pause { "-STOP" } else { "-CONT" };
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    pub(crate) async fn ask<T: raw::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut connection = crate::look_into(&self.url()).await;
        raw::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await.unwrap()
    }

    /// How many connections it ever took, this question's own included.
    pub(crate) async fn connections_taken(&self) -> u64 {
        let stats: String = self.ask(&["INFO", "stats"]).await;
        let line = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        line.unwrap().parse().unwrap()
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        self.kill();
    }
}
