//! Connections over real sockets, with short limits.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const LIMITS: Limits = Limits {
    head: Duration::from_millis(200),
    keep_alive: Duration::from_millis(600),
    unread: Duration::from_millis(300),
};
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// A client, and its connection as the server has it.
async fn pair() -> (TcpStream, Connection) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.expect("connected"), Connection::new(accepted.expect("accepted").0, LIMITS))
}

async fn read(connection: &mut Connection) -> Vec<u8> {
    let mut bytes = vec![0; 1_024];
    let count = connection.read(&mut bytes).await.expect("no fault");
    bytes.truncate(count);
    bytes
}

#[test]
fn the_farewell_is_as_long_as_it_says() {
    let text = str::from_utf8(TOO_SLOW).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
    serde_json::from_str::<serde_json::Value>(body).expect("JSON");
}

#[tokio::test]
async fn hf5_a_head_that_does_not_come_in_time_is_told_so_and_ended() {
    let (mut client, mut connection) = pair().await;
    client.write_all(b"POST / HT").await.expect("sent");
    assert_eq!(read(&mut connection).await, b"POST / HT");
    let begun = Instant::now();
    assert_eq!(read(&mut connection).await, b"", "ended");
    assert!(begun.elapsed() >= LIMITS.head / 2 && begun.elapsed() < Duration::from_secs(10));
    drop(connection);
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("application/problem+json"), "{answer}");
}

#[tokio::test]
async fn hf5_bytes_that_come_one_by_one_do_not_prolong_a_head() {
    let (mut client, mut connection) = pair().await;
    let drip = tokio::spawn(async move {
        while client.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let begun = Instant::now();
    while !read(&mut connection).await.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it goes on for ever");
    }
    drop(connection);
    drip.await.expect("no panic");
}

#[tokio::test]
async fn hf5_each_head_has_a_limit_and_not_the_first_alone() {
    let (mut client, mut connection) = pair().await;
    for _ in 0..3 {
        client.write_all(REQUEST).await.expect("sent");
        assert_eq!(read(&mut connection).await, REQUEST);
        let answering = connection.peer.arrives();
        assert_eq!(connection.peer.deadline(), None, "an answer may take as long as it takes");
        drop(answering);
    }
    client.write_all(b"G").await.expect("sent");
    assert_eq!(read(&mut connection).await, b"G");
    let begun = Instant::now();
    assert_eq!(read(&mut connection).await, b"", "ended");
    assert!(begun.elapsed() < LIMITS.keep_alive, "as a head, and not as a silent connection");
}

#[tokio::test]
async fn hf5_a_complete_request_that_lay_in_the_socket_is_read_however_late() {
    let (mut client, mut connection) = pair().await;
    client.write_all(REQUEST).await.expect("sent");
    // The thread stands still, and its runtime with it.
    std::thread::sleep(LIMITS.keep_alive * 2);
    assert_eq!(read(&mut connection).await, REQUEST);
    drop(connection.peer.arrives());
    client.write_all(REQUEST).await.expect("sent");
    std::thread::sleep(LIMITS.keep_alive * 2);
    assert_eq!(read(&mut connection).await, REQUEST);
}

#[tokio::test]
async fn hf4_a_client_that_hung_up_is_known_before_its_request_is_handled() {
    let (mut client, mut connection) = pair().await;
    client.write_all(REQUEST).await.expect("sent");
    drop(client);
    assert_eq!(read(&mut connection).await, REQUEST);
    assert_eq!(read(&mut connection).await, b"");
    let (arrival, _answering) = connection.peer.arrives();
    assert_eq!(arrival.is_in_time(), Err(crate::arrival::TooLate::HungUp));
}

#[tokio::test]
async fn hf5_a_connection_that_falls_silent_while_it_is_answered_has_its_limit_afterwards() {
    let (mut client, mut connection) = pair().await;
    client.write_all(REQUEST).await.expect("sent");
    assert_eq!(read(&mut connection).await, REQUEST);
    let answering = connection.peer.arrives();
    let peer = connection.peer.clone();
    let reading = tokio::task::LocalSet::new();
    let read = reading.run_until(async move {
        let ends = tokio::task::spawn_local(async move { read(&mut connection).await });
        // Longer than the first timer.
        tokio::time::sleep(LIMITS.head * 2).await;
        assert_eq!(peer.deadline(), None);
        drop(answering);
        tokio::time::timeout(Duration::from_secs(10), ends).await.expect("it ends").expect("no panic")
    });
    assert_eq!(read.await, b"");
    drop(client);
}

#[tokio::test]
async fn hf5_a_client_that_does_not_read_its_answer_is_left_in_the_end() {
    let (client, mut connection) = pair().await;
    let much = vec![b'x'; 1 << 20];
    let written = async {
        loop {
            connection.write_all(&much).await?;
        }
    };
    let ended: Result<(), io::Error> = tokio::time::timeout(Duration::from_secs(30), written).await.expect("it ends");
    assert_eq!(ended.expect_err("an end").kind(), io::ErrorKind::TimedOut);
    drop(client);
}

#[tokio::test]
async fn hf4_a_reset_is_an_end_and_no_error_that_drops_a_handler() {
    let (client, mut connection) = pair().await;
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("a socket");
    drop(client);
    assert_eq!(read(&mut connection).await, b"");
    let (arrival, _answering) = connection.peer.arrives();
    assert_eq!(arrival.is_in_time(), Err(crate::arrival::TooLate::HungUp));
}
