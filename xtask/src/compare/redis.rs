//! What Redis tells of its own work (`INFO`).

use anyhow::Context as _;
use e2e::servers::PrivateRedis;

/// Since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct RedisWork {
    /// Commands of requests, also those within scripts: what follows feeds, or looks after connections, is left out, and so is this look.
    pub(super) commands: f64,
    pub(super) cpu_seconds: f64,
    /// How often it read from a connection: a round trip each, where nobody sends two at once.
    pub(super) reads: f64,
    /// Bytes, now.
    pub(super) memory: f64,
}

/// Commands that no request sends: reads of the feeds wait all the time, whether somebody asks or not.
const OTHERS: [&str; 9] = ["xread", "info", "ping", "hello", "auth", "select", "client", "config", "command"];

impl RedisWork {
    /// # Errors
    /// Redis does not answer.
    pub(super) fn of(redis: &PrivateRedis) -> anyhow::Result<Self> {
        Self::read(&redis.ask_for_text("INFO all")?)
    }

    fn read(info: &str) -> anyhow::Result<Self> {
        let number = |name: &str| -> anyhow::Result<f64> {
            let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.and_then(|value| value.trim().parse().ok()).with_context(|| format!("INFO tells no {name}"))
        };
        let calls = info.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let name = name.split('|').next()?;
            if OTHERS.contains(&name) { None } else { rest.split(',').next()?.parse::<f64>().ok() }
        });
        Ok(Self {
            commands: calls.sum(),
            cpu_seconds: number("used_cpu_sys")? + number("used_cpu_user")?,
            reads: number("total_reads_processed")?,
            memory: number("used_memory")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_of_requests_are_counted_and_no_others() {
        let info = "used_memory:1000\r\nused_memory_human:1K\r\ntotal_reads_processed:30\r\nused_cpu_sys:1.5\r\nused_cpu_user:0.25\r\n\
                    cmdstat_hmget:calls=7,usec=1\r\ncmdstat_evalsha:calls=2,usec=1\r\n\
                    cmdstat_xread:calls=99,usec=1\r\ncmdstat_config|get:calls=3,usec=1\r\n";
        let work = RedisWork::read(info).expect("read");
        assert_eq!(work, RedisWork { commands: 9.0, cpu_seconds: 1.75, reads: 30.0, memory: 1000.0 });
        assert!(RedisWork::read("redis_version:7").is_err());
    }
}
