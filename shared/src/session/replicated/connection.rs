//! A connection between two nodes: both prove that they have the cluster's key, and nobody else reads or changes a frame
//! (Noise, `NNpsk0`, fresh keys for each connection). Owns the frames; knows no message.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use snow::{Builder, HandshakeState, StatelessTransportState};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::keys::ClusterKeys;
use super::wire::LONGEST_FRAME;

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";
/// Both sides must mean the same protocol, or the handshake fails.
const PROLOGUE: &[u8] = b"roam cluster connections v1";
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(3);
const LONGEST_HANDSHAKE: usize = 256;
/// Noise bounds a message to 65,535 bytes, with its tag of 16.
const LONGEST_PART: usize = 65_535 - 16;
/// The first byte of a part: whether another one follows.
const LAST: u8 = 0;
const MORE: u8 = 1;

pub(super) struct Reader {
    stream: OwnedReadHalf,
    noise: Arc<StatelessTransportState>,
    nonce: u64,
}

pub(super) struct Writer {
    stream: OwnedWriteHalf,
    noise: Arc<StatelessTransportState>,
    nonce: u64,
}

/// Speaks first, with the first key.
///
/// # Errors
/// The other side does not have it, or does not answer in time.
pub(super) async fn dial(stream: TcpStream, keys: &ClusterKeys) -> anyhow::Result<(Reader, Writer)> {
    let key = keys.of_connections().next().context("there is a key")?;
    let handshake = async {
        let mut stream = stream;
        let mut noise = builder(key)?.build_initiator()?;
        let mut message = [0; LONGEST_HANDSHAKE];
        let length = noise.write_message(&[], &mut message)?;
        write_part(&mut stream, &message[..length]).await?;
        let answer =
            read_part(&mut stream, LONGEST_HANDSHAKE).await.context("it has another CLUSTER_KEY, or is none")?;
        noise.read_message(&answer, &mut message).context("it has another CLUSTER_KEY")?;
        open(stream, noise)
    };
    timeout(HANDSHAKE_PATIENCE, handshake).await.context("the handshake took too long")?
}

/// Answers whoever has one of the keys.
///
/// # Errors
/// The caller has none, or does not speak in time.
pub(super) async fn answer(stream: TcpStream, keys: &ClusterKeys) -> anyhow::Result<(Reader, Writer)> {
    let handshake = async {
        let mut stream = stream;
        let hello = read_part(&mut stream, LONGEST_HANDSHAKE).await?;
        let mut message = [0; LONGEST_HANDSHAKE];
        for key in keys.of_connections() {
            let mut noise = builder(key)?.build_responder()?;
            if noise.read_message(&hello, &mut message).is_ok() {
                let length = noise.write_message(&[], &mut message)?;
                write_part(&mut stream, &message[..length]).await?;
                return open(stream, noise);
            }
        }
        bail!("the caller has none of the keys in CLUSTER_KEY")
    };
    timeout(HANDSHAKE_PATIENCE, handshake).await.context("the handshake took too long")?
}

fn builder(key: &[u8; 32]) -> anyhow::Result<Builder<'_>> {
    Ok(Builder::new(PATTERN.parse()?).prologue(PROLOGUE)?.psk(0, key)?)
}

fn open(stream: TcpStream, noise: HandshakeState) -> anyhow::Result<(Reader, Writer)> {
    let noise = Arc::new(noise.into_stateless_transport_mode()?);
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    Ok((Reader { stream: read, noise: noise.clone(), nonce: 0 }, Writer { stream: write, noise, nonce: 0 }))
}

impl Reader {
    /// The next frame. Nothing can be read after an error, or when this future was dropped before its end.
    ///
    /// # Errors
    /// The connection has ended, or the frame is changed or too long.
    pub(super) async fn read(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut frame = Vec::new();
        loop {
            let sealed = read_part(&mut self.stream, LONGEST_PART + 16).await?;
            let mut part = vec![0; sealed.len()];
            let length = self.noise.read_message(self.nonce, &sealed, &mut part).context("a frame was changed")?;
            self.nonce += 1;
            let (more, text) = part[..length].split_first().context("an empty part")?;
            ensure!(frame.len() + text.len() <= LONGEST_FRAME, "a frame is longer than {LONGEST_FRAME} bytes");
            frame.extend_from_slice(text);
            if *more == LAST {
                return Ok(frame);
            }
        }
    }
}

impl Writer {
    /// # Errors
    /// The connection has ended, or the frame is too long to be read.
    pub(super) async fn write(&mut self, frame: &[u8]) -> anyhow::Result<()> {
        ensure!(frame.len() <= LONGEST_FRAME, "a frame of {} bytes", frame.len());
        let mut parts = frame.chunks(LONGEST_PART - 1).peekable();
        let mut sealed = vec![0; LONGEST_PART + 16];
        while let Some(part) = parts.next() {
            let more = if parts.peek().is_some() { MORE } else { LAST };
            let length = self.noise.write_message(self.nonce, &[&[more], part].concat(), &mut sealed)?;
            self.nonce += 1;
            write_part(&mut self.stream, &sealed[..length]).await?;
        }
        Ok(())
    }
}

async fn read_part(stream: &mut (impl AsyncRead + Unpin), longest: usize) -> anyhow::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    ensure!((1..=longest).contains(&length), "a part of {length} bytes");
    let mut part = vec![0; length];
    stream.read_exact(&mut part).await?;
    Ok(part)
}

async fn write_part(stream: &mut (impl AsyncWrite + Unpin), part: &[u8]) -> anyhow::Result<()> {
    let length = u16::try_from(part.len()).context("a part is at most 65,535 bytes")?;
    let with_length = [&length.to_be_bytes()[..], part].concat();
    Ok(stream.write_all(&with_length).await?)
}
