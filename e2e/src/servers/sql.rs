//! Just enough of PostgreSQL's protocol (3.0, simple queries) to see that a server answers and to make databases, so that
//! whoever starts a server needs no database library.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{bail, ensure};

const PATIENCE: Duration = Duration::from_secs(30);
const PROTOCOL: u32 = 3 << 16;

/// One session. Dropping it ends it.
#[derive(Debug)]
pub struct SqlSession {
    stream: TcpStream,
}

impl SqlSession {
    /// With a server that trusts us.
    ///
    /// # Errors
    /// The server does not answer yet, refuses, or wants a password.
    pub fn begin(address: SocketAddr, user: &str, database: &str) -> anyhow::Result<Self> {
        Self::begin_with(address, user, database, None)
    }

    /// With a password, which is sent in clear: on this machine only.
    ///
    /// # Errors
    /// The server does not answer yet, refuses, or wants to be told the password in another way.
    pub fn begin_with(address: SocketAddr, user: &str, database: &str, password: Option<&str>) -> anyhow::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut session = Self { stream };
        let parameters = format!("user\0{user}\0database\0{database}\0\0");
        let length = u32::try_from(8 + parameters.len())?.to_be_bytes();
        session.stream.write_all(&[&length[..], &PROTOCOL.to_be_bytes(), parameters.as_bytes()].concat())?;
        session.rows(password)?;
        Ok(session)
    }

    /// Runs one statement and answers the first column of its rows, as text.
    ///
    /// # Errors
    /// What the server says against it.
    pub fn execute(&mut self, statement: &str) -> anyhow::Result<Vec<String>> {
        let length = u32::try_from(5 + statement.len())?.to_be_bytes();
        self.stream.write_all(&[b"Q", &length[..], statement.as_bytes(), b"\0"].concat())?;
        self.rows(None)
    }

    /// Reads messages until the server is ready for the next statement.
    fn rows(&mut self, password: Option<&str>) -> anyhow::Result<Vec<String>> {
        let (mut rows, mut refusal) = (Vec::new(), None);
        loop {
            let (kind, body) = self.message()?;
            match (kind, password) {
                // AuthenticationCleartextPassword
                (b'R', Some(password)) if body == [0, 0, 0, 3] => self.send_password(password)?,
                (b'R', _) if body != [0; 4] => bail!("this PostgreSQL wants a password"),
                // An error before the session stands ends it: nothing more comes.
                (b'E', _) => refusal = Some(message_of(&body)),
                (b'D', _) => rows.push(first_column(&body)),
                (b'Z', _) => break,
                _ => {}
            }
            if let (b'E', Some(refusal)) = (kind, &refusal)
                && refusal.starts_with("FATAL")
            {
                bail!("PostgreSQL: {refusal}");
            }
        }
        match refusal {
            Some(refusal) => bail!("PostgreSQL: {refusal}"),
            None => Ok(rows),
        }
    }

    fn send_password(&mut self, password: &str) -> anyhow::Result<()> {
        let length = u32::try_from(5 + password.len())?.to_be_bytes();
        Ok(self.stream.write_all(&[b"p", &length[..], password.as_bytes(), b"\0"].concat())?)
    }

    fn message(&mut self) -> anyhow::Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length);
        ensure!((4..16 << 20).contains(&length), "another server listens on PostgreSQL's port");
        let mut body = vec![0; length as usize - 4];
        self.stream.read_exact(&mut body)?;
        Ok((kind, body))
    }
}

impl Drop for SqlSession {
    fn drop(&mut self) {
        // Terminate; the server notices a closed connection as well.
        let _ = self.stream.write_all(b"X\0\0\0\x04");
    }
}

/// The severity and message of an error's fields.
fn message_of(body: &[u8]) -> String {
    let fields = body.split(|byte| *byte == 0).filter_map(|field| field.split_first());
    let shown = fields.filter(|(kind, _)| matches!(kind, b'V' | b'M'));
    shown.map(|(_, text)| String::from_utf8_lossy(text).into_owned()).collect::<Vec<_>>().join(": ")
}

/// The first of a row's columns; a NULL is an empty text.
fn first_column(body: &[u8]) -> String {
    let text = body.get(2..6).and_then(|length| {
        let length = usize::try_from(i32::from_be_bytes(length.try_into().ok()?)).ok()?;
        body.get(6..6 + length)
    });
    text.map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
}
