//! The machine under measure: which processor cores who may use, and what the kernel knows of a process. Linux only.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

/// Who may use which cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cores {
    All,
    /// The first one: for the process under measure.
    First,
    /// All but the first: for the load, PostgreSQL and Redis.
    Others,
}

impl Cores {
    /// As `taskset` takes them.
    fn list(self) -> String {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        self.list_of(count.max(machine_cores()))
    }

    fn list_of(self, count: usize) -> String {
        match (self, count) {
            (_, 0 | 1) | (Self::First, _) => "0".to_owned(),
            (Self::All, _) => format!("0-{}", count - 1),
            (Self::Others, _) => format!("1-{}", count - 1),
        }
    }

    /// The words before a program that keep it on these cores.
    pub(crate) fn prefix(self) -> [String; 2] {
        ["--cpu-list".to_owned(), self.list()]
    }

    /// Keeps this process and all that it starts from now on to these cores.
    ///
    /// # Errors
    /// There is no `taskset`, or the system refuses.
    pub(crate) fn take(self) -> anyhow::Result<()> {
        let mut taskset = Command::new(TASKSET);
        taskset.args(["--all-tasks", "--pid", "--cpu-list", &self.list(), &std::process::id().to_string()]);
        let done = taskset.stdin(Stdio::null()).output().context("taskset (package util-linux) cannot be started")?;
        ensure!(done.status.success(), "taskset: {}", String::from_utf8_lossy(&done.stderr).trim());
        Ok(())
    }
}

pub(crate) const TASKSET: &str = "/usr/bin/taskset";

/// How many cores the machine has, whichever of them this process may use just now.
pub(crate) fn machine_cores() -> usize {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    cpuinfo.lines().filter(|line| line.starts_with("processor")).count()
}

/// The processor time that a process has taken so far, all of its threads together, in seconds.
///
/// # Errors
/// It does not run.
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the measured process does not run")?;
    ticks(&stat, [14, 15]).context("/proc/PID/stat reads otherwise than it should")
}

/// The processor time of this process's children that have ended, in seconds.
///
/// # Errors
/// The system does not tell.
pub(crate) fn cpu_seconds_of_ended_children() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    ticks(&stat, [16, 17]).context("/proc/self/stat reads otherwise than it should")
}

/// The sum of two fields of `/proc/PID/stat` (proc(5); counted from 1), in seconds.
#[expect(clippy::cast_precision_loss, reason = "ticks of some hours")]
fn ticks(stat: &str, fields: [usize; 2]) -> Option<f64> {
    // The second field is the program's name, which may hold anything, in brackets.
    let after_name = stat.rsplit_once(") ")?.1;
    let values: Vec<&str> = after_name.split_ascii_whitespace().collect();
    let ticks: u64 = fields.iter().map(|field| values.get(field - 3)?.parse::<u64>().ok()).sum::<Option<u64>>()?;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The most memory that a process ever had resident, in MB.
///
/// # Errors
/// It does not run.
pub(crate) fn peak_resident_mb(pid: u32) -> anyhow::Result<f64> {
    Ok(status_bytes(pid, "VmHWM:")? / 1e6)
}

/// The memory that a process has resident, in bytes.
///
/// # Errors
/// It does not run.
pub(crate) fn resident_bytes(pid: u32) -> anyhow::Result<f64> {
    status_bytes(pid, "VmRSS:")
}

#[expect(clippy::cast_precision_loss, reason = "kibibytes of one machine")]
fn status_bytes(pid: u32, field: &str) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the measured process does not run")?;
    let kib = status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse().ok());
    let kib: u64 = kib.context("/proc/PID/status reads otherwise than it should")?;
    Ok(kib as f64 * 1024.0)
}

/// What stands beside the figures: without it they mean little.
pub(crate) fn describe() -> Value {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let version = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).stdin(Stdio::null()).output().ok();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        text.lines().next().unwrap_or_default().to_owned()
    };
    let postgres = e2e::servers::postgres_folder().map(|folder| folder.join("postgres").display().to_string());
    let redis = e2e::servers::redis_server().map(|program| program.display().to_string());
    json!({
        "cores": machine_cores(),
        "processor": model.map(|(_, name)| name),
        "load": fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
        "system": version("uname", "-srm"),
        "rustc": version("rustc", "--version"),
        "postgres": version(&postgres.unwrap_or_default(), "--version"),
        "redis": version(&redis.unwrap_or_default(), "--version"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_core_and_the_others_share_none() {
        let lists = |count| [Cores::All, Cores::First, Cores::Others].map(|cores| cores.list_of(count));
        assert_eq!(lists(1), ["0", "0", "0"]);
        assert_eq!(lists(2), ["0-1", "0", "1-1"]);
        assert_eq!(lists(8), ["0-7", "0", "1-7"]);
    }

    #[test]
    fn processor_time_is_read_past_any_program_name() {
        let stat = "7 (a) R (b) S 1 7 7 0 -1 0 0 0 0 0 120 30 500 11 20 0 1 0 584838 3133440 416";
        let tick = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(ticks(stat, [14, 15]), Some(150.0 / tick));
        assert_eq!(ticks(stat, [16, 17]), Some(511.0 / tick));
        assert_eq!(ticks("7 (a) R", [14, 15]), None);
    }

    #[test]
    fn this_very_process_is_measured() {
        let before = cpu_seconds(std::process::id()).expect("it runs");
        let started = std::time::Instant::now();
        while started.elapsed() < std::time::Duration::from_millis(100) {
            std::hint::spin_loop();
        }
        assert!(cpu_seconds(std::process::id()).expect("it runs") > before);
        assert!(peak_resident_mb(std::process::id()).expect("it runs") > 1.0);
        assert!(resident_bytes(std::process::id()).expect("it runs") > 1e6);
        assert!(cpu_seconds(u32::MAX).is_err());
    }
}
