//! The load: clients on kept-alive HTTP/1.1 connections, all on one thread, which costs a few microseconds for each
//! request. Owns sending, reading and the stopwatch; knows no endpoint.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Halt;
use super::statistics::Sample;

/// How long an answer may take: under a flood of logins, a login waits for all those before it.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the clients of one load say.
pub(crate) trait Conversation {
    /// Writes the next request of this client.
    fn ask(&mut self, client: usize, request: &mut Vec<u8>);

    /// Takes the body of the answer, which was a success.
    ///
    /// # Errors
    /// It is not what it should be.
    fn hear(&mut self, _client: usize, _body: &[u8]) -> anyhow::Result<()> {
        Ok(())
    }
}

/// Each client sends the same request again and again.
pub(crate) struct Repeated(pub(crate) Vec<Vec<u8>>);

impl Conversation for Repeated {
    fn ask(&mut self, client: usize, request: &mut Vec<u8>) {
        request.extend_from_slice(&self.0[client % self.0.len()]);
    }
}

/// When the clients ask.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// Each as soon as it has its answer: as much as the server takes.
    Closed,
    /// One request in each interval, whether the server keeps up or not. What it waits for a free client counts as waiting.
    Open(Duration),
}

/// One window of load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) clients: usize,
    pub(crate) pace: Pace,
    /// Answers within this time are not counted: connections, caches and queues fill.
    pub(crate) warm_up: Duration,
    pub(crate) counted: Duration,
}

/// Sends the load of one window to `port`. `cpu_seconds` tells how much processor time the measured process has taken.
///
/// # Errors
/// An answer is no success or does not come, or the measuring was halted.
pub(crate) fn send(
    port: u16,
    window: Window,
    conversation: &mut dyn Conversation,
    cpu_seconds: &mut dyn FnMut() -> anyhow::Result<f64>,
    halt: &Halt,
) -> anyhow::Result<Sample> {
    let mut clients = (0..window.clients).map(|_| Client::connect(port)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut latencies = Vec::new();
    let begin = Instant::now();
    let counted_from = begin + window.warm_up;
    let end = counted_from + window.counted;
    let mut due = begin;
    let mut cpu_before = None;
    loop {
        halt.check()?;
        let now = Instant::now();
        if cpu_before.is_none() && now >= counted_from {
            cpu_before = Some(cpu_seconds()?);
        }
        if now >= end {
            break;
        }
        match window.pace {
            Pace::Closed => {
                for (number, client) in clients.iter_mut().enumerate().filter(|(_, client)| client.is_free()) {
                    client.ask(number, conversation, Instant::now())?;
                }
            }
            Pace::Open(interval) => {
                while due <= now
                    && let Some((number, client)) = longest_free(&mut clients)
                {
                    client.ask(number, conversation, due)?;
                    due += interval;
                }
            }
        }
        let until = match window.pace {
            Pace::Open(_) if clients.iter().any(Client::is_free) => due.min(end),
            Pace::Open(_) | Pace::Closed => end,
        };
        exchange(&mut clients, until, conversation, |asked_at, answered_at| {
            if answered_at >= counted_from && answered_at < end {
                latencies.push(micros(answered_at - asked_at));
            }
        })?;
    }
    let seconds = counted_from.elapsed().as_secs_f64();
    let cpu = cpu_seconds()? - cpu_before.unwrap_or_default();
    drain(&mut clients, conversation, halt)?;
    ensure!(!latencies.is_empty(), "no answer came within {:?}", window.counted);
    Ok(Sample::of(latencies, seconds, Some(cpu)))
}

/// The client that has waited longest for something to ask: a server closes a connection that says nothing.
fn longest_free(clients: &mut [Client]) -> Option<(usize, &mut Client)> {
    clients.iter_mut().enumerate().filter(|(_, client)| client.is_free()).min_by_key(|(_, client)| client.last_asked)
}

/// Takes the answers that are still to come, so that every conversation can go on in the next window.
fn drain(clients: &mut [Client], conversation: &mut dyn Conversation, halt: &Halt) -> anyhow::Result<()> {
    let patient_until = Instant::now() + PATIENCE;
    while !clients.iter().all(Client::is_free) {
        halt.check()?;
        ensure!(Instant::now() < patient_until, "an answer did not come within {PATIENCE:?}");
        exchange(clients, patient_until, conversation, |_, _| {})?;
    }
    Ok(())
}

/// Waits for answers until a moment, or at most 100 milliseconds, and hands over those that came.
fn exchange(
    clients: &mut [Client],
    until: Instant,
    conversation: &mut dyn Conversation,
    mut answered: impl FnMut(Instant, Instant),
) -> anyhow::Result<()> {
    let patience = until.saturating_duration_since(Instant::now()).min(Duration::from_millis(100));
    let patience = Timespec::try_from(patience)?;
    let ready: Vec<bool> = {
        let mut waiting: Vec<PollFd<'_>> = clients.iter().map(Client::waits_for).collect();
        match poll(&mut waiting, Some(&patience)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("the connections cannot be waited for"),
        }
        waiting.iter().map(|fd| !fd.revents().is_empty()).collect()
    };
    for (number, client) in clients.iter_mut().enumerate().filter(|(number, _)| ready[*number]) {
        if let Some(asked_at) = client.go_on(number, conversation)? {
            answered(asked_at, Instant::now());
        }
    }
    Ok(())
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

/// One connection, with at most one request under way.
struct Client {
    stream: TcpStream,
    asked_at: Option<Instant>,
    last_asked: Option<Instant>,
    request: Vec<u8>,
    sent: usize,
    answer: Vec<u8>,
}

impl Client {
    fn connect(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, asked_at: None, last_asked: None, request: Vec::new(), sent: 0, answer: Vec::new() })
    }

    fn is_free(&self) -> bool {
        self.asked_at.is_none()
    }

    fn waits_for(&self) -> PollFd<'_> {
        let unsent = self.sent < self.request.len();
        PollFd::new(&self.stream, if unsent { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN })
    }

    fn ask(&mut self, number: usize, conversation: &mut dyn Conversation, asked_at: Instant) -> anyhow::Result<()> {
        self.request.clear();
        self.sent = 0;
        conversation.ask(number, &mut self.request);
        self.asked_at = Some(asked_at);
        self.last_asked = self.asked_at;
        self.send_rest()
    }

    fn send_rest(&mut self) -> anyhow::Result<()> {
        while self.sent < self.request.len() {
            match self.stream.write(&self.request[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("a request cannot be sent"),
            }
        }
        Ok(())
    }

    /// Sends and reads what can be; answers when the request was asked whose answer is complete now.
    fn go_on(&mut self, number: usize, conversation: &mut dyn Conversation) -> anyhow::Result<Option<Instant>> {
        self.send_rest()?;
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(count) => self.answer.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error).context("an answer cannot be read"),
        }
        let Some(answer) = Answer::read(&self.answer)? else { return Ok(None) };
        let (body, length) = (answer.body, answer.length);
        ensure!(
            (200..300).contains(&answer.status),
            "the server answered {}: {}",
            answer.status,
            String::from_utf8_lossy(body)
        );
        conversation.hear(number, body)?;
        ensure!(self.answer.len() == length, "the server said more than it was asked");
        self.answer.clear();
        self.asked_at.take().context("the server spoke without being asked").map(Some)
    }
}

/// An answer that is complete.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// The status line and the headers, with the empty line.
    pub(crate) head: &'a str,
    pub(crate) body: &'a [u8],
    /// Of all of it, in bytes.
    length: usize,
}

impl<'a> Answer<'a> {
    /// Reads an answer with a `Content-Length`, or none while it is not complete.
    ///
    /// # Errors
    /// It is no such answer.
    pub(crate) fn read(bytes: &'a [u8]) -> anyhow::Result<Option<Self>> {
        let Some(head_length) = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4) else {
            return Ok(None);
        };
        let head = str::from_utf8(&bytes[..head_length]).context("the answer's head is no text")?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
        let status = status.context("the answer is no HTTP/1.1")?;
        let length_of_body = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        let none_is_allowed = status == 204;
        let length = head_length
            + match length_of_body {
                Some(length) => length,
                None if none_is_allowed => 0,
                None => bail!("the answer has no Content-Length"),
            };
        Ok(bytes.get(head_length..length).map(|body| Self { status, head, body, length }))
    }
}

/// A request of one piece. `headers` are whole lines: `Name: value\r\n`.
pub(crate) fn request(method: &str, path: &str, headers: &str, body: Option<&str>) -> Vec<u8> {
    request_to("localhost", method, path, headers, body)
}

/// As [`request`], to this host.
pub(crate) fn request_to(host: &str, method: &str, path: &str, headers: &str, body: Option<&str>) -> Vec<u8> {
    let about_the_body = body.map_or_else(String::new, |body| {
        format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
    });
    let body = body.unwrap_or_default();
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}{about_the_body}\r\n{body}").into_bytes()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn an_answer_is_read_when_it_is_complete() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: y\r\n\r\n{}";
        for length in 0..whole.len() {
            assert_eq!(Answer::read(&whole[..length]).expect("nothing wrong with it"), None, "{length}");
        }
        let read = Answer::read(whole).expect("it is one").expect("it is complete");
        assert_eq!((read.status, read.body, read.length), (200, &b"{}"[..], whole.len()));
        assert_eq!(read.head.len() + read.body.len(), whole.len());
        let empty = Answer::read(b"HTTP/1.1 204 No Content\r\n\r\n").expect("it is one").expect("it is complete");
        assert_eq!((empty.status, empty.body), (204, &b""[..]));
        for no_answer in ["+PONG\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 OK\r\n\r\n"] {
            assert!(Answer::read(no_answer.as_bytes()).is_err(), "{no_answer:?}");
        }
    }

    /// A server that answers each request with its number on that connection, after `pause`.
    fn counting_server(pause: Duration) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("its address").port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut chunk = [0; 1024];
                    for number in 0.. {
                        if !matches!(stream.read(&mut chunk), Ok(1..)) {
                            return;
                        }
                        std::thread::sleep(pause);
                        let body = format!("{number}");
                        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                        if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        port
    }

    /// Each client expects the numbers in their order.
    struct Counting(Vec<u64>);

    impl Conversation for Counting {
        fn ask(&mut self, _client: usize, request: &mut Vec<u8>) {
            request.extend_from_slice(&super::request("GET", "/", "", None));
        }

        fn hear(&mut self, client: usize, body: &[u8]) -> anyhow::Result<()> {
            ensure!(body == self.0[client].to_string().as_bytes(), "client {client} heard {body:?}");
            self.0[client] += 1;
            Ok(())
        }
    }

    fn window(pace: Pace) -> Window {
        Window { clients: 3, pace, warm_up: Duration::from_millis(50), counted: Duration::from_millis(400) }
    }

    #[test]
    fn each_client_hears_the_answers_to_its_own_requests_and_all_of_them() {
        let mut conversation = Counting(vec![0; 3]);
        let mut readings = [1.0, 3.5].into_iter();
        let mut cpu = || readings.next().context("read twice");
        let port = counting_server(Duration::ZERO);
        let sample = send(port, window(Pace::Closed), &mut conversation, &mut cpu, &Halt::default()).expect("measured");
        assert!(sample.per_second > 0.0 && sample.p50_ms <= sample.p99_ms, "{sample:?}");
        let per_answer = sample.cpu_us.expect("it was metered") * sample.per_second * 0.4 / 1e6;
        assert!((per_answer - 2.5).abs() < 1.0, "{sample:?}");
        assert!(conversation.0.iter().all(|heard| *heard > 0));
    }

    #[test]
    fn all_clients_ask_although_one_would_be_enough() {
        let port = counting_server(Duration::ZERO);
        let mut conversation = Counting(vec![0; 3]);
        let pace = Pace::Open(Duration::from_millis(20));
        send(port, window(pace), &mut conversation, &mut || Ok(0.0), &Halt::default()).expect("measured");
        assert!(conversation.0.iter().all(|heard| *heard > 0), "{:?}", conversation.0);
    }

    #[test]
    fn waiting_for_a_free_client_counts_as_waiting() {
        // Three clients and 20 ms an answer: 150 a second. 300 a second are asked for, so half of the time is a queue.
        let port = counting_server(Duration::from_millis(20));
        let pace = Pace::Open(Duration::from_micros(3_333));
        let mut conversation = Counting(vec![0; 3]);
        let sample = send(port, window(pace), &mut conversation, &mut || Ok(0.0), &Halt::default()).expect("measured");
        assert!(sample.p99_ms > 60.0, "{sample:?}");
    }

    #[test]
    fn a_halted_load_ends() {
        let halt = Halt::default();
        halt.halt();
        let port = counting_server(Duration::ZERO);
        let sent = send(port, window(Pace::Closed), &mut Counting(vec![0; 3]), &mut || Ok(0.0), &halt);
        assert_eq!(sent.expect_err("halted").to_string(), "stopped");
    }
}
