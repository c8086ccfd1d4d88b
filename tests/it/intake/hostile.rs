//! What a sender may try with the right token, and with none.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Intake, Request, envelope, next_response, read_response};

/// Everything here is refused with a sentence and leaves no trace in the log.
#[tokio::test]
async fn json_that_is_no_event() {
    let intake = Intake::start().await;
    let with = |field: &str| envelope("1").replace(r#""data":{"n":1}"#, field);
    let long = |length: usize| envelope(&"x".repeat(length));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("white space", b" \n".to_vec()),
        ("not JSON", b"hello".to_vec()),
        ("a number", b"1".to_vec()),
        ("null", b"null".to_vec()),
        ("a string", b"\"x\"".to_vec()),
        ("cut off", envelope("1").as_bytes()[..40].to_vec()),
        ("something after it", format!("{}{}", envelope("1"), envelope("2")).into_bytes()),
        ("a comma too many", b"[1,]".to_vec()),
        ("an array in an array", format!("[[{}]]", envelope("1")).into_bytes()),
        ("a duplicate key", with(r#""id":"2""#).into_bytes()),
        ("a duplicate key, escaped", with(r#""\u0069d":"2""#).into_bytes()),
        ("a duplicate key deep inside", with(r#""data":{"a":{"b":1,"b":2}}"#).into_bytes()),
        ("nested too deep", with(&format!(r#""d":{}1{}"#, "[".repeat(5000), "]".repeat(5000))).into_bytes()),
        ("nested too deep and cut off", "[".repeat(1_000_000).into_bytes()),
        ("objects nested too deep", r#"{"a":"#.repeat(100_000).into_bytes()),
        ("a raw NUL", with("\"x\":\"a\0b\"").into_bytes()),
        ("a raw newline in a string", with("\"x\":\"a\nb\"").into_bytes()),
        ("invalid UTF-8", [with(r#""x":""#).as_bytes(), b"\xff\xfe\"}"].concat()),
        (
            "overlong UTF-8",
            with("\"x\":\"@\"")
                .into_bytes()
                .iter()
                .flat_map(|b| if *b == b'@' { vec![0xc0, 0xaf] } else { vec![*b] })
                .collect(),
        ),
        ("UTF-16", envelope("1").encode_utf16().flat_map(u16::to_be_bytes).collect()),
        ("NaN", with(r#""x":NaN"#).into_bytes()),
        ("a lone surrogate", with(r#""x":"\ud800""#).into_bytes()),
        ("a number beyond doubles", with(r#""x":1e400"#).into_bytes()),
        ("a hexadecimal number", with(r#""x":0x10"#).into_bytes()),
        ("no id", envelope("1").replace("\"id\"", "\"di\"").into_bytes()),
        ("an empty id", envelope("").into_bytes()),
        ("a numeric id", envelope("1").replace("\"1\"", "1").into_bytes()),
        ("an id of 257 characters", long(257).into_bytes()),
        ("a line break in the id", envelope("a\\r\\nX-Evil: 1").into_bytes()),
        ("a NUL in the id", envelope("a\\u0000").into_bytes()),
        ("a name that is no name", envelope("1").replace("chat.finished", "chat..finished").into_bytes()),
        ("a pattern as a name", envelope("1").replace("chat.finished", "chat.*").into_bytes()),
        ("a name of 129 characters", envelope("1").replace("chat.finished", &"x".repeat(129)).into_bytes()),
        ("no time", envelope("1").replace("created_at", "created").into_bytes()),
        ("milliseconds", envelope("1").replace("1795000000", "1795000000000").into_bytes()),
        ("an infinite time", envelope("1").replace("1795000000", "1e999").into_bytes()),
        ("an object as source", envelope("1").replace("\"api\"", "{}").into_bytes()),
    ];
    for (what, body) in cases {
        let response = intake.post(body).await;
        assert_eq!(response.status, 400, "{what}");
        let detail = response.detail();
        assert!(detail.ends_with('.') && detail.len() < 400, "{what}: {detail}");
        assert!(!detail.contains("X-Evil"), "{what}: {detail}");
    }
    assert_eq!(intake.log.events(), []);
}

/// Odd, but JSON: kept as it came.
#[tokio::test]
async fn json_that_is_odd_but_an_event() {
    let intake = Intake::start().await;
    let with = |id: &str, field: &str| envelope(id).replace(r#""data":{"n":1}"#, field);
    let nested = format!(r#""data":{}1{}"#, "[".repeat(100), "]".repeat(100));
    let bodies = [
        with("2", &format!(r#""x":{}"#, "9".repeat(300))),
        with("4", r#""x":"\u0000""#),
        with("5", &nested),
        with("6", r#""":{"":{"":""}}"#),
        with("7", r#""__proto__":{},"$ref":"\u202e""#),
        with("8", &format!(r#""{}":1"#, "k".repeat(100_000))),
        envelope(&"é".repeat(256)),
    ];
    for body in bodies {
        let response = intake.post(body.clone()).await;
        assert_eq!(response.status, 202, "{:.80}: {}", body, String::from_utf8_lossy(&response.body));
        assert_eq!(intake.log.events().pop().unwrap().json, body);
    }
    let marked = format!("\u{feff}{}", envelope("bom"));
    assert_eq!(intake.post(marked).await.status, 202);
}

/// A request as raw bytes, and the statuses answered until the connection closes.
async fn raw(intake: &Intake, bytes: &[u8]) -> Vec<u16> {
    let mut stream = TcpStream::connect(intake.address).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut statuses = Vec::new();
    let mut buffer = Vec::new();
    while let Some(response) = next_response("POST", &mut stream, &mut buffer).await {
        statuses.push(response.status);
    }
    statuses
}

#[tokio::test]
async fn framing_that_is_not_to_be_trusted() {
    let intake = Intake::start().await;
    let post = "POST /v1/events/right HTTP/1.1\r\nhost: x\r\n";
    let get = "GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";
    let many = "x: y\r\n".repeat(101);
    let wide = format!("x: {}\r\n", "y".repeat(40_000));
    let long = "y".repeat(70_000);
    let cases = [
        // The transfer coding wins, and nothing that follows is a request.
        (
            format!("{post}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n"),
            vec![202],
        ),
        (
            format!(
                "{post}transfer-encoding: chunked\r\ncontent-length: 100\r\n\r\n2\r\n[]\r\n0\r\n\r\n{get}"
            ),
            vec![202],
        ),
        (format!("{post}content-length: 2\r\ncontent-length: 3\r\n\r\n[] "), vec![400]),
        (format!("{post}content-length: 2\r\ncontent-length: 2\r\n\r\n[]"), vec![202]),
        (format!("{post}content-length: 2, 2\r\n\r\n[]"), vec![400]),
        (format!("{post}content-length: +2\r\n\r\n[]"), vec![400]),
        (format!("{post}content-length: -1\r\n\r\n[]"), vec![400]),
        (format!("{post}content-length: 0x2\r\n\r\n[]"), vec![400]),
        (format!("{post}content-length : 2\r\n\r\n[]"), vec![400]),
        (format!("{post}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), vec![501]),
        (
            format!("{post}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
            vec![501],
        ),
        (format!("{post}transfer-encoding: identity\r\n\r\n"), vec![400]),
        (format!("{post}transfer-encoding: xchunked\r\ncontent-length: 2\r\n\r\n[]"), vec![400]),
        (format!("{post}transfer-encoding: chunked\r\n\r\nxyz\r\n[]\r\n0\r\n\r\n"), vec![400]),
        (format!("{post}transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n[]\r\n0\r\n\r\n"), vec![400]),
        (format!("{post}transfer-encoding: chunked\r\n\r\n2\r\n[]"), vec![400]),
        (format!("{post}content-length: 10\r\n\r\n[]"), vec![400]),
        (format!("{post} folded: x\r\ncontent-length: 2\r\n\r\n[]"), vec![400]),
        (format!("{post}x: a\0b\r\ncontent-length: 2\r\n\r\n[]"), vec![400]),
        (format!("{post}{many}content-length: 2\r\n\r\n[]"), vec![431]),
        (format!("{post}{wide}content-length: 2\r\n\r\n[]"), vec![431]),
        (format!("POST /v1/events/{long} HTTP/1.1\r\nhost: x\r\n\r\n"), vec![431]),
        ("POST /v1/events/right HTTP/1.1\r\ncontent-length: 2\r\n\r\n[]".to_owned(), vec![400]),
        (format!("{post}host: y\r\ncontent-length: 2\r\n\r\n[]"), vec![400]),
        ("POST /v1/events/right HTTP/1.0\r\ncontent-length: 2\r\n\r\n[]".to_owned(), vec![202]),
        (
            "POST /v1/events/right HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
            vec![400],
        ),
        (
            "POST http://x/v1/events/right HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n[]".to_owned(),
            vec![202],
        ),
        ("POST * HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), vec![404]),
        ("CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), vec![404]),
        ("POST /v1/events/right HTTP/9.9\r\nhost: x\r\n\r\n".to_owned(), vec![400]),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), vec![]),
        ("hello\r\n\r\n".to_owned(), vec![400]),
        ("\x16\x03\x01\x02\0\x01\0".to_owned(), vec![400]),
        ("\r\n\r\n".to_owned(), vec![]),
    ];
    for (at, (bytes, statuses)) in cases.into_iter().enumerate() {
        assert_eq!(
            raw(&intake, bytes.as_bytes()).await,
            statuses,
            "case {at}: {:.90}",
            bytes.escape_debug().to_string()
        );
    }
    assert_eq!(intake.post(envelope("1")).await.status, 202);
}

#[tokio::test]
async fn requests_in_one_piece_are_answered_in_order() {
    let intake = Intake::start().await;
    let request = |id: &str| Request::post("/v1/events").bearer("right").body(envelope(id)).bytes();
    let refused = Request::post("/v1/events").bearer("wrong").body(envelope("2")).bytes();
    let bytes = [request("1"), refused, request("3")].concat();
    assert_eq!(raw(&intake, &bytes).await, [202, 401, 202]);
}

#[tokio::test]
async fn a_refusal_never_echoes_the_token() {
    let intake = Intake::start().await;
    for request in [
        Request::post("/v1/events/s3cret").body("[]"),
        Request::post("/v1/events/s3cret/x").body("[]"),
        Request::post("/v1/events").bearer("s3cret").body("[]"),
        Request::new("GET", "/v1/events/s3cret"),
    ] {
        let response = intake.send(&request).await;
        assert!(response.status >= 400);
        assert!(!String::from_utf8_lossy(&response.body).contains("s3cret"));
    }
}

#[tokio::test]
async fn many_connections_at_once() {
    let intake = std::sync::Arc::new(Intake::start().await);
    let mut tasks = tokio::task::JoinSet::new();
    for connection in 0..200 {
        let intake = std::sync::Arc::clone(&intake);
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(intake.address).await.unwrap();
            for i in 0..5 {
                let body = envelope(&format!("{connection}-{i}"));
                let request = Request::post("/v1/events").bearer("right").body(body);
                stream.write_all(&request.bytes()).await.unwrap();
                assert_eq!(read_response(&mut stream).await.unwrap().status, 202);
            }
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
    assert_eq!(intake.log.events().len(), 1000);
}

#[tokio::test]
async fn a_sender_that_goes_away_leaves_nothing_behind() {
    let intake = Intake::start().await;
    for _ in 0..20 {
        let mut stream = TcpStream::connect(intake.address).await.unwrap();
        let request = Request::post("/v1/events").bearer("right").body(envelope("1")).bytes();
        stream.write_all(&request[..request.len() - 5]).await.unwrap();
        drop(stream);
    }
    let quiet = r#"http_server_active_requests{http_request_method="POST"} 0"#;
    while !intake.metrics.encode().unwrap().contains(quiet) {
        tokio::task::yield_now().await;
    }
    assert_eq!(intake.log.events(), []);
    let mut stream = TcpStream::connect(intake.address).await.unwrap();
    assert_eq!(intake.post(envelope("1")).await.status, 202);
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}
