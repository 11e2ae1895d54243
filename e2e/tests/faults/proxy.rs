//! A TCP proxy before a store, which can break all of its connections. Knows no protocol.

use std::net::Ipv4Addr;

use e2e::process::free_port;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) struct Proxy {
    pub(crate) port: u16,
    breaks: watch::Sender<()>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// Leads to whoever listens on this loopback port.
    pub(crate) async fn start(to: u16) -> Self {
        let port = free_port().expect("a free port");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("it can be listened on");
        let breaks = watch::Sender::new(());
        let broken = breaks.clone();
        let listening = tokio::spawn(async move {
            while let Ok((inside, _)) = listener.accept().await {
                tokio::spawn(lead(inside, to, broken.subscribe()));
            }
        });
        Self { port, breaks, listening }
    }

    /// Closes every connection; new ones are led on.
    pub(crate) fn break_all(&self) {
        self.breaks.send_replace(());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn lead(mut inside: TcpStream, to: u16, mut broken: watch::Receiver<()>) {
    let Ok(mut outside) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await else { return };
    // A store's answers are small, and somebody waits for each.
    let _ = (inside.set_nodelay(true), outside.set_nodelay(true));
    tokio::select! {
        _ = copy_bidirectional(&mut inside, &mut outside) => {}
        _ = broken.changed() => {}
    }
}
