//! What a client publishes: a server of one document, on a free port.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// The status of an answer that never comes.
pub(crate) const NEVER: u16 = 0;

/// Serves one document, and counts how often it is read.
pub(crate) struct DocumentServer {
    url: String,
    reads: Arc<AtomicUsize>,
    document: Arc<Mutex<(u16, String)>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for DocumentServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl DocumentServer {
    pub(crate) async fn start(document: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/document", listener.local_addr().unwrap());
        let reads = Arc::new(AtomicUsize::new(0));
        let document = Arc::new(Mutex::new((200, document.to_string())));
        let (counted, served) = (reads.clone(), document.clone());
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let (status, body) = served.lock().unwrap().clone();
                let _ = stream.read(&mut [0; 4096]).await;
                if status == NEVER {
                    std::future::pending::<()>().await;
                }
                let head = format!(
                    "HTTP/1.1 {status} x\r\nLocation: /elsewhere\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        Self { url, reads, document, task }
    }

    pub(crate) fn serve(&self, status: u16, body: impl ToString) {
        *self.document.lock().unwrap() = (status, body.to_string());
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}
