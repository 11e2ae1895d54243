//! The packets of the membership (chitchat over UDP), sealed with the cluster's key. Whatever does not open is dropped and
//! counted.

use std::io::ErrorKind;
use std::net::SocketAddr;

use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Deserializable as _, Serializable as _};
use tokio::net::UdpSocket;

use super::keys::ClusterKeys;
use super::measures;

const LONGEST_PACKET: usize = 65_507;

pub(super) struct SealedPackets(pub(super) ClusterKeys);

#[async_trait]
impl Transport for SealedPackets {
    async fn open(&self, address: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let socket = UdpSocket::bind(address).await?;
        Ok(Box::new(SealedSocket { socket, keys: self.0.clone(), packet: vec![0; LONGEST_PACKET] }))
    }
}

struct SealedSocket {
    socket: UdpSocket,
    keys: ClusterKeys,
    packet: Vec<u8>,
}

#[async_trait]
impl Socket for SealedSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let sealed = self.keys.seal(message.serialize_to_vec());
        // A packet that does not leave is as one that is lost: the next one will.
        if let Err(error) = self.socket.send_to(&sealed, to).await {
            tracing::debug!(%to, %error, "a packet of the membership was not sent");
        }
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            let (length, from) = match self.socket.recv_from(&mut self.packet).await {
                Ok(received) => received,
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset) => {
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let opened = self.keys.open(&self.packet[..length]);
            match opened.and_then(|packet| ChitchatMessage::deserialize(&mut &packet[..]).ok()) {
                Some(message) => return Ok((from, message)),
                None => measures::dropped("packet"),
            }
        }
    }
}
