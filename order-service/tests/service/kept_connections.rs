//! A connection to the cart service that rested, and is closed at the moment when it is taken up again: a gateway that reads
//! its configuration anew does that.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use order_service::cart::{Authorization, CartClient};

use crate::harness::CHECKOUT_SECRET;

const CART: &str = r#"{"lines":[],"total":{"amount":0,"currency":"EUR"},"version":0}"#;

/// Reads one request without a body.
fn read(stream: &mut TcpStream) {
    let (mut request, mut chunk) = (Vec::new(), [0; 1024]);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = stream.read(&mut chunk).unwrap();
        assert!(count > 0, "the client went away");
        request.extend_from_slice(&chunk[..count]);
    }
}

fn answer(stream: &mut TcpStream) {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", CART.len());
    stream.write_all(format!("{head}{CART}").as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_kept_connection_is_closed_under_it_is_repeated_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let cart = std::thread::spawn(move || {
        let (mut kept, _) = listener.accept().unwrap();
        read(&mut kept);
        answer(&mut kept);
        read(&mut kept);
        // Closed without an answer.
        drop(kept);
        let (mut fresh, _) = listener.accept().unwrap();
        read(&mut fresh);
        answer(&mut fresh);
        read(&mut fresh);
        drop(fresh);
        let (mut last, _) = listener.accept().unwrap();
        read(&mut last);
    });
    let client = CartClient::new(base, &CHECKOUT_SECRET.into()).unwrap();
    let ada = Authorization::bearer("a-token").unwrap();
    client.show(&ada).await.expect("the first call is answered");
    client.show(&ada).await.expect("the second one is repeated on a connection of its own");
    client.show(&ada).await.expect_err("the third one is repeated once, and no more");
    cart.join().unwrap();
}
