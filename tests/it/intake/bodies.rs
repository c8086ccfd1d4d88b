//! How large, how fast, how compressed.

use std::io::Write as _;
use std::time::Duration;

use chathooks::dispatcher::http_server::ServerLimits;
use chathooks::dispatcher::intake::IntakeLimits;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Intake, NOW, Request, envelope, read_response, sized};

const MIB: usize = 1024 * 1024;

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zstd(body: &[u8]) -> Vec<u8> {
    zstd::encode_all(body, 3).unwrap()
}

/// A request whose body comes in chunks.
fn chunked(chunks: &[&[u8]]) -> Vec<u8> {
    let head = "POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer right\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut bytes = head.as_bytes().to_vec();
    for chunk in chunks {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

#[tokio::test]
async fn events_from_64_bytes_to_one_mebibyte() {
    let intake = Intake::start().await;
    for size in [64, 65, 700, 4096, 65_535, 65_536, 65_537, 300_000, MIB - 1, MIB] {
        let id = size.to_string();
        let response = intake.post(sized(&id, size)).await;
        assert_eq!(response.status, 202, "{size}");
        assert_eq!(intake.log.events().pop().unwrap().json.len(), size);
    }
    let response = intake.post(sized("x", MIB + 1)).await;
    assert_eq!(response.status, 413);
    assert!(response.detail().contains("1048576 bytes"));
}

#[tokio::test]
async fn a_request_of_8_mebibytes_is_taken_and_one_byte_more_is_not() {
    let intake = Intake::start().await;
    let events: Vec<_> = (0..8).map(|i| sized(&i.to_string(), MIB - 10)).collect();
    let mut body = format!("[{}]", events.join(","));
    body.push_str(&" ".repeat(8 * MIB - body.len()));
    assert_eq!(intake.post(body.clone()).await.json()["accepted"], 8);

    body.push(' ');
    let response = intake.post(body).await;
    assert_eq!(response.status, 413);
    assert!(response.detail().contains("8388608 bytes"));
}

#[tokio::test]
async fn an_event_above_the_bound_is_413_with_its_index() {
    let intake = Intake::start().await;
    let response = intake.post(format!("[{},{}]", envelope("1"), sized("2", MIB + 1))).await;
    assert_eq!(response.status, 413);
    assert_eq!(response.json()["errors"][0]["index"], 1);
    assert_eq!(intake.log.events(), []);
}

#[tokio::test]
async fn a_declared_length_beyond_the_bound_is_refused_at_once() {
    let intake = Intake::start().await;
    for length in ["8388609", "18446744073709551613"] {
        let mut stream = TcpStream::connect(intake.address).await.unwrap();
        let head = format!(
            "POST /v1/events/right HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(read_response(&mut stream).await.unwrap().status, 413, "{length}");
    }
}

#[tokio::test]
async fn chunked_bodies_are_taken_and_cut_at_the_bound() {
    let intake = Intake::start().await;
    let body = envelope("1");
    let (head, tail) = body.as_bytes().split_at(10);
    let mut stream = TcpStream::connect(intake.address).await.unwrap();
    stream.write_all(&chunked(&[head, &tail[..1], &tail[1..]])).await.unwrap();
    assert_eq!(read_response(&mut stream).await.unwrap().status, 202);

    let mebibyte = vec![b' '; MIB];
    let mut stream = TcpStream::connect(intake.address).await.unwrap();
    stream.write_all(&chunked(&[&mebibyte[..]; 9])).await.unwrap();
    assert_eq!(read_response(&mut stream).await.unwrap().status, 413);
}

#[tokio::test]
async fn a_refused_sender_can_finish_sending_and_reads_the_answer() {
    let intake = Intake::start().await;
    for (token, body) in [("wrong", vec![b' '; 4 * MIB]), ("right", vec![b' '; 9 * MIB])] {
        let mut stream = TcpStream::connect(intake.address).await.unwrap();
        stream.write_all(&Request::post("/v1/events").bearer(token).body(body).bytes()).await.unwrap();
        let status = read_response(&mut stream).await.unwrap().status;
        assert_eq!(status, if token == "wrong" { 401 } else { 413 });
        // What was thrown away is gone: the connection goes on.
        stream.write_all(&Request::post("/v1/events").bearer("right").body("[]").bytes()).await.unwrap();
        assert_eq!(read_response(&mut stream).await.unwrap().status, 202);
    }
}

#[tokio::test]
async fn compressed_bodies() {
    let intake = Intake::start().await;
    let large: Vec<_> = (0..100).map(|i| envelope(&format!("l{i}"))).collect();
    let large = format!("[{}]", large.join(","));
    for (id, encoding, pack) in [
        ("1", "gzip", gzip as fn(&[u8]) -> Vec<u8>),
        ("2", "x-gzip", gzip),
        ("3", "zstd", zstd),
        ("4", "identity", |body: &[u8]| body.to_vec()),
    ] {
        let one = Request::post("/v1/events").bearer("right").header("content-encoding", encoding);
        let response = intake.send(&one.clone().body(pack(envelope(id).as_bytes()))).await;
        assert_eq!(response.json()["accepted"], 1, "{encoding}");
        assert_eq!(intake.send(&one.body(pack(large.as_bytes()))).await.status, 202, "{encoding}");
    }
    let members = [gzip(b"["), gzip(b"]")].concat();
    let request =
        Request::post("/v1/events").bearer("right").header("content-encoding", "gzip").body(members);
    assert_eq!(intake.send(&request).await.status, 202);
}

#[tokio::test]
async fn bombs_are_413_and_broken_streams_400() {
    let intake = Intake::start().await;
    let zeros = vec![b' '; 64 * MIB];
    let mut wide = zstd::Encoder::new(Vec::new(), 1).unwrap();
    wide.window_log(27).unwrap();
    wide.include_contentsize(false).unwrap();
    wide.write_all(&zeros).unwrap();
    let half = |mut bytes: Vec<u8>| {
        bytes.truncate(bytes.len() / 2);
        bytes
    };
    let cases = [
        ("gzip", gzip(&zeros), 413),
        ("gzip", gzip(&zeros[..=8 * MIB]), 413),
        ("zstd", zstd(&zeros), 413),
        ("zstd", vec![zstd(&zeros[..MIB]); 9].concat(), 413),
        ("zstd", wide.finish().unwrap(), 400),
        ("gzip", half(gzip(envelope("1").as_bytes())), 400),
        ("zstd", half(zstd(envelope("1").as_bytes())), 400),
        ("gzip", envelope("1").into_bytes(), 400),
        ("zstd", envelope("1").into_bytes(), 400),
        ("gzip", [gzip(envelope("1").as_bytes()), b"trailing".to_vec()].concat(), 400),
        ("gzip", zstd(b"[]"), 400),
        ("gzip", Vec::new(), 400),
        ("zstd", Vec::new(), 400),
    ];
    for (at, (encoding, body, status)) in cases.into_iter().enumerate() {
        let request = Request::post("/v1/events").bearer("right").header("content-encoding", encoding);
        let response = intake.send(&request.body(body)).await;
        assert_eq!(response.status, status, "case {at}: {encoding}");
        response.detail();
    }
    assert_eq!(intake.log.events(), []);
    // All memory was given back.
    assert_eq!(intake.post(envelope("1")).await.status, 202);
}

#[tokio::test]
async fn other_encodings_and_types_are_415() {
    let intake = Intake::start().await;
    for (name, value) in [
        ("content-encoding", "br"),
        ("content-encoding", "gzip, zstd"),
        ("content-type", "text/plain"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-type", "application/json; charset=iso-8859-1"),
    ] {
        let request = Request::post("/v1/events").bearer("right").header(name, value).body(envelope("1"));
        let response = intake.send(&request).await;
        assert_eq!(response.status, 415, "{value}");
        assert!(response.detail().contains("may be"), "{value}");
    }
}

#[tokio::test]
async fn a_slow_body_is_408() {
    let limits = IntakeLimits {
        body_grace: Duration::from_millis(50),
        body_rate: 1_000_000,
        ..IntakeLimits::default()
    };
    let intake = Intake::with(NOW, limits, ServerLimits::default()).await;
    let mut stream = TcpStream::connect(intake.address).await.unwrap();
    let head = "POST /v1/events/right HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n[";
    stream.write_all(head.as_bytes()).await.unwrap();
    let response = read_response(&mut stream).await.unwrap();
    assert_eq!(response.status, 408);
    assert_eq!(response.headers["connection"], "close");
    assert!(response.detail().contains("too slowly"));
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_body_that_never_ends_meets_the_deadline() {
    let limits = IntakeLimits {
        body_grace: Duration::from_hours(1),
        body_rate: 1,
        body_deadline: Duration::from_millis(100),
        ..IntakeLimits::default()
    };
    let intake = Intake::with(NOW, limits, ServerLimits::default()).await;
    let mut stream = TcpStream::connect(intake.address).await.unwrap();
    let head = "POST /v1/events/right HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\n[\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_response(&mut stream).await.unwrap().status, 408);
}

#[tokio::test]
async fn bodies_share_a_budget() {
    let limits = IntakeLimits { bodies_in_flight: 1000, ..IntakeLimits::default() };
    let intake = Intake::with(NOW, limits, ServerLimits::default()).await;
    assert_eq!(intake.post(sized("1", 1000)).await.status, 202);
    let response = intake.post(sized("2", 1001)).await;
    assert_eq!(response.status, 503);
    assert_eq!(response.headers["retry-after"], "1");

    // A body that is still coming holds its share, and gives it back when its sender goes.
    let mut slow = TcpStream::connect(intake.address).await.unwrap();
    let request = Request::post("/v1/events").bearer("right").body(sized("3", 900)).bytes();
    slow.write_all(&request[..request.len() - 1]).await.unwrap();
    while intake.post(sized("4", 200)).await.status != 503 {
        tokio::task::yield_now().await;
    }
    drop(slow);
    while intake.post(sized("5", 900)).await.status != 202 {
        tokio::task::yield_now().await;
    }
    // Inflated bytes count.
    let bomb = Request::post("/v1/events").bearer("right").header("content-encoding", "gzip");
    assert_eq!(intake.send(&bomb.body(gzip(sized("6", 2000).as_bytes()))).await.status, 503);
}
