//! The receiver: answers 200 to every request, books each event, and checks the signature of every 64th delivery.
//!
//! A kept-alive HTTP/1.1 server of the smallest kind, because it shares its cores with what is measured.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::ledger::Ledger;
use crate::{Result, envelope, http};

/// The key that the measured subscriptions sign with.
pub(crate) const SIGNING_KEY: [u8; 32] = *b"0123456789abcdef0123456789abcdef";

/// One delivery in so many has its signature checked.
const SIGNATURE_EVERY: u64 = 64;

/// What every request is answered with.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Bytes of a connection's buffer at first; a larger request makes it grow.
const BUFFER: usize = 64 * 1024;

/// A listening receiver.
#[derive(Debug)]
pub(crate) struct Receiver {
    address: SocketAddr,
    books: Arc<Books>,
}

/// The ledger of the run in progress.
#[derive(Debug, Default)]
struct Books(Mutex<Option<Arc<Ledger>>>);

impl Receiver {
    /// Listens on a free port of the loopback address.
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let books = Arc::new(Books::default());
        tokio::spawn(accept(listener, Arc::clone(&books)));
        Ok(Self { address, books })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Deliveries are booked here from now on; those of earlier runs are passed over.
    pub(crate) fn book_into(&self, ledger: &Arc<Ledger>) {
        *self.books.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(ledger));
    }
}

async fn accept(listener: TcpListener, books: Arc<Books>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let books = Arc::clone(&books);
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, &books).await {
                        eprintln!("receiver: {error}");
                    }
                });
            }
            Err(error) => eprintln!("receiver: {error}"),
        }
    }
}

/// Serves one connection until the peer closes it.
async fn serve(mut stream: TcpStream, books: &Books) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer: Vec<u8> = Vec::with_capacity(BUFFER);
    let mut answers: Vec<u8> = Vec::new();
    loop {
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) => {}
        }
        let mut done = 0;
        while let Some(frame) = http::frame(&buffer[done..])? {
            let Some(request) = buffer.get(done..done + frame.whole) else { break };
            let (head, body) = request.split_at(frame.head);
            books.book(head, body);
            answers.extend_from_slice(ANSWER);
            done += frame.whole;
        }
        buffer.drain(..done);
        if !answers.is_empty() {
            stream.write_all(&answers).await?;
            answers.clear();
        }
    }
}

impl Books {
    fn book(&self, head: &[u8], body: &[u8]) {
        let ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(ledger) = ledger else { return };
        let Some(number) = envelope::find_number(body, ledger.run.as_bytes()) else { return };
        ledger.deliver(number, subscription(head));
        if ledger.signed && number.is_multiple_of(SIGNATURE_EVERY) {
            ledger.signatures.fetch_add(1, Relaxed);
            if !is_signed(head, body, &format!("{}{number:012x}", ledger.run)) {
                ledger.bad_signatures.fetch_add(1, Relaxed);
            }
        }
    }
}

/// The subscription's index: the last character of the path, `/to/3`.
fn subscription(head: &[u8]) -> usize {
    let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    path.last().filter(|byte| byte.is_ascii_digit()).map_or(0, |byte| usize::from(byte - b'0'))
}

/// Whether the delivery of event `id` carries a valid signature by <https://www.standardwebhooks.com>.
fn is_signed(head: &[u8], body: &[u8], id: &str) -> bool {
    let header = |name| http::header(head, name).unwrap_or_default();
    if header("webhook-id") != id.as_bytes() {
        return false;
    }
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&SIGNING_KEY) else { return false };
    for part in [id.as_bytes(), b".", header("webhook-timestamp"), b".", body] {
        mac.update(part);
    }
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    header("webhook-signature").split(|byte| *byte == b' ').any(|signature| signature == expected.as_bytes())
}
