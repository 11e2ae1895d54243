//! One request on a connection of its own: for what is asked once, and not measured by its rate.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::load::Answer;

const PATIENCE: Duration = Duration::from_secs(20);

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) status: u16,
    /// The status line and the headers.
    pub(crate) head: String,
    /// Null where there is none, or no JSON.
    pub(crate) body: Value,
}

impl Heard {
    /// The body of a success.
    ///
    /// # Errors
    /// It is a refusal.
    pub(crate) fn success(self) -> anyhow::Result<Value> {
        ensure!((200..300).contains(&self.status), "{} {}", self.status, self.body);
        Ok(self.body)
    }

    /// A problem's stable code, or nothing.
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// The values of all headers of this name (in lower case).
    pub(crate) fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.head.lines().filter_map(move |line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// Sends a request to a port of this machine, and waits for the answer.
///
/// # Errors
/// Nobody answers in time, or what comes back is no HTTP.
pub(crate) fn ask(port: u16, request: &[u8]) -> anyhow::Result<Heard> {
    Line::open(port)?.ask(request)
}

/// A connection that is kept.
pub(crate) struct Line(TcpStream);

impl Line {
    /// # Errors
    /// Nobody listens there.
    pub(crate) fn open(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    /// Sends a request, and waits for the answer.
    ///
    /// # Errors
    /// As [`ask`].
    pub(crate) fn ask(&mut self, request: &[u8]) -> anyhow::Result<Heard> {
        self.0.write_all(request)?;
        let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
        loop {
            let count = self.0.read(&mut chunk).context("no answer")?;
            ensure!(count > 0, "the server closed the connection");
            bytes.extend_from_slice(&chunk[..count]);
            if let Some(answer) = Answer::read(&bytes)? {
                let body = serde_json::from_slice(answer.body).unwrap_or_default();
                return Ok(Heard { status: answer.status, head: answer.head.to_owned(), body });
            }
        }
    }
}
