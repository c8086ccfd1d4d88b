//! One kept-alive connection that sends prepared bytes and reads the answer.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Result, http};

/// Bytes read at a time.
const READ: usize = 16 * 1024;

/// A connection that opens again by itself after the server closed it or an exchange failed.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    stream: Option<TcpStream>,
    answer: Vec<u8>,
}

impl Client {
    /// Not yet connected.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, answer: Vec::with_capacity(READ) }
    }

    /// Sends one request and returns status and body of the answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<(u16, &[u8])> {
        let mut stream = if let Some(stream) = self.stream.take() {
            stream
        } else {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            stream
        };
        stream.write_all(request).await?;
        self.answer.clear();
        let frame = loop {
            match http::frame(&self.answer)? {
                Some(frame) if frame.whole <= self.answer.len() => break frame,
                _ => {}
            }
            if stream.read_buf(&mut self.answer).await? == 0 {
                return Err("the server closed the connection before it answered".into());
            }
        };
        if !frame.close {
            self.stream = Some(stream);
        }
        Ok((http::status(&self.answer)?, &self.answer[frame.head..frame.whole]))
    }
}
