//! Who may post.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chathooks::dispatcher::http_server::ServerLimits;
use chathooks::dispatcher::intake::IntakeLimits;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{Intake, Request, envelope, read_response};

/// Secret, id, time, body and signature of the first published Standard Webhooks vector.
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const TIME: i64 = 1_614_265_330;
const BODY: &str = r#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

async fn at(now: i64) -> Intake {
    Intake::with(now, IntakeLimits::default(), ServerLimits::default()).await
}

fn signed(signature: &str) -> Request {
    Request::post("/v1/events")
        .header("webhook-id", ID)
        .header("webhook-timestamp", &TIME.to_string())
        .header("webhook-signature", signature)
        .body(BODY)
}

#[tokio::test]
async fn bearer_tokens() {
    let intake = Intake::start().await;
    let cases = [
        (Some("Bearer right"), 202),
        (Some("bearer right"), 202),
        (Some("BEARER   right"), 202),
        (Some("Bearer also/right"), 202),
        (Some("Bearer wrong"), 401),
        (Some("Bearer rightx"), 401),
        (Some("Bearer righ"), 401),
        (Some("Bearer "), 401),
        (Some("Bearer"), 401),
        (Some("right"), 401),
        (Some("Basic right"), 401),
        (Some("Bearerright"), 401),
        (Some("é"), 401),
        (None, 401),
    ];
    for (value, status) in cases {
        let mut request = Request::post("/v1/events").body("[]");
        if let Some(value) = value {
            request = request.header("authorization", value);
        }
        let response = intake.send(&request).await;
        assert_eq!(response.status, status, "{value:?}");
        if status == 401 {
            assert_eq!(response.headers["www-authenticate"], "Bearer realm=\"chathooks\"");
            response.detail();
        }
    }
    let twice = Request::post("/v1/events").bearer("wrong").bearer("right").body("[]");
    assert_eq!(intake.send(&twice).await.status, 401);
}

#[tokio::test]
async fn tokens_in_the_path() {
    let intake = Intake::start().await;
    let cases = [
        ("/v1/events/right", 202),
        ("/v1/events/r%69ght", 202),
        ("/v1/events/also%2Fright", 202),
        ("/v1/instances/ai/chat/events/right", 202),
        ("/v1/events/right?partial=false", 202),
        ("/v1/events/also/right", 404),
        ("/v1/events/wrong", 401),
        ("/v1/events/%ff%00%", 401),
        ("/v1/events/right%00", 401),
        ("/v1/events/{token}", 401),
        ("/v1/events/..", 401),
        ("/v1/events/r%2569ght", 401),
        ("/v1/instances/ai/chat/events/wrong", 401),
        ("/v1/events/", 404),
        ("/v1/events//right", 404),
    ];
    for (target, status) in cases {
        let response = intake.send(&Request::post(target).body("[]")).await;
        assert_eq!(response.status, status, "{target}");
    }
    // The token in the path decides, whatever else is sent.
    let both = Request::post("/v1/events/wrong").bearer("right").body("[]");
    assert_eq!(intake.send(&both).await.status, 401);
}

#[tokio::test]
async fn published_signatures_hold() {
    // The body of the vector is no event: 400 says that the signature held.
    for now in [TIME, TIME - 300, TIME + 300] {
        let intake = at(now).await;
        assert_eq!(intake.send(&signed(SIGNATURE)).await.status, 400, "{now}");
    }
    let intake = at(TIME).await;
    let zeros = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for signatures in [format!("{zeros} {SIGNATURE}"), format!("v1a,xx v2,{zeros} {SIGNATURE} v1,")] {
        assert_eq!(intake.send(&signed(&signatures)).await.status, 400, "{signatures}");
    }
    let beside_a_wrong_token = signed(SIGNATURE).bearer("wrong");
    assert_eq!(intake.send(&beside_a_wrong_token).await.status, 400);
}

#[tokio::test]
async fn other_signatures_do_not() {
    for (now, sentence) in [(TIME - 301, "five minutes"), (TIME + 301, "five minutes"), (0, "five minutes")] {
        let response = at(now).await.send(&signed(SIGNATURE)).await;
        assert_eq!(response.status, 401);
        assert!(response.detail().contains(sentence));
    }
    let intake = at(TIME).await;
    let zeros = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let half = &SIGNATURE[..24];
    let other_version = SIGNATURE.replace("v1,", "v2,");
    let joined = SIGNATURE.replace("v1,", "v1,v1,");
    let bare = &SIGNATURE[3..];
    for signature in [zeros, half, &other_version, &joined, bare, "", "v1,", "v1", "v1,*", ",", "é"] {
        let response = intake.send(&signed(signature)).await;
        assert_eq!(response.status, 401, "{signature}");
        response.detail();
    }
    let changed = signed(SIGNATURE).body(BODY.replace("2432232314", "2432232315"));
    assert_eq!(intake.send(&changed).await.status, 401);
    let twice = signed(SIGNATURE).header("webhook-id", ID);
    assert_eq!(intake.send(&twice).await.status, 401);
    for missing in ["webhook-id", "webhook-timestamp"] {
        let mut request = signed(SIGNATURE);
        request.headers.retain(|(name, _)| name != missing);
        assert_eq!(intake.send(&request).await.status, 401, "{missing}");
    }
    for time in ["", "x", "1614265330.5", "99999999999999999999", "-9223372036854775808"] {
        let mut request = signed(SIGNATURE);
        request.headers[1].1 = time.to_owned();
        assert_eq!(intake.send(&request).await.status, 401, "{time}");
    }
}

#[tokio::test]
async fn a_library_of_others_signs_what_we_take() {
    let intake = Intake::start().await;
    let webhook = standardwebhooks::Webhook::new("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let body = envelope("1");
    let signature = webhook.sign("msg_1", super::NOW, body.as_bytes()).unwrap();
    let request = Request::post("/v1/events")
        .header("webhook-id", "msg_1")
        .header("webhook-timestamp", &super::NOW.to_string())
        .header("webhook-signature", &signature)
        .body(body);
    assert_eq!(intake.send(&request).await.status, 202);
}

#[tokio::test]
async fn a_signature_covers_the_body_as_it_came_over_the_wire() {
    let intake = Intake::start().await;
    let body = zstd::encode_all(envelope("1").as_bytes(), 3).unwrap();
    // The published library signs text only.
    let key = Hmac::<Sha256>::new_from_slice(b"another key, tried first").unwrap();
    let mac = key.chain_update(format!("msg_1.{}.", super::NOW)).chain_update(&body).finalize().into_bytes();
    let request = Request::post("/v1/events")
        .header("content-encoding", "zstd")
        .header("webhook-id", "msg_1")
        .header("webhook-timestamp", &super::NOW.to_string())
        .header("webhook-signature", &format!("v1,{}", STANDARD.encode(mac)))
        .body(body);
    assert_eq!(intake.send(&request).await.status, 202);
}

#[tokio::test]
async fn without_a_credential_the_body_is_not_waited_for() {
    let intake = Intake::start().await;
    for headers in ["", "authorization: Bearer wrong\r\n", "webhook-signature: v1,x\r\n"] {
        let mut stream = TcpStream::connect(intake.address).await.unwrap();
        let head = format!("POST /v1/events HTTP/1.1\r\nhost: x\r\n{headers}content-length: 1000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(read_response(&mut stream).await.unwrap().status, 401, "{headers}");
    }
}

#[tokio::test]
async fn a_refused_sender_is_not_asked_for_the_body() {
    let intake = Intake::start().await;
    let expecting = |token: &str| {
        let body = envelope("1");
        let length = body.len();
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nexpect: 100-continue\r\n\
             content-length: {length}\r\n\r\n"
        );
        (head, body)
    };
    let (head, _) = expecting("wrong");
    let mut stream = TcpStream::connect(intake.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_response(&mut stream).await.unwrap().status, 401);

    let (head, body) = expecting("right");
    let mut stream = TcpStream::connect(intake.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_response(&mut stream).await.unwrap().status, 100);
    stream.write_all(body.as_bytes()).await.unwrap();
    assert_eq!(read_response(&mut stream).await.unwrap().status, 202);
}
