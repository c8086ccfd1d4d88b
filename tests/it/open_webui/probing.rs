//! `Reachable` says in a sentence what is missing: every switch on the real thing, what is not it on a stand-in.

use axum::Router;
use axum::http::StatusCode;
use chathooks::plan::model::SensitiveText;
use chathooks::plan::platform::{PlatformCredentials, PlatformPlan};
use chathooks::platform::open_webui::{Keeper, PlatformReport, RelayState};
use serde_json::json;

use super::{GATE, hello, installed, owner, plan, relayed};
use crate::support::open_webui::{EMAIL, OpenWebUi, PASSWORD, shared};
use crate::support::receiver::Receiver;

fn password(plan: PlatformPlan, email: &str, password: &str) -> PlatformPlan {
    let (email, password) = (SensitiveText(email.into()), SensitiveText(password.into()));
    PlatformPlan { credentials: PlatformCredentials::Password { email, password }, ..plan }
}

async fn look(plan: &PlatformPlan) -> PlatformReport {
    Keeper::new().sync(plan, &owner(&plan.name), &GATE).await
}

/// Status, reason and a part of the sentence.
fn says(report: &PlatformReport, reason: &str, part: &str) {
    let state = &report.reachable;
    assert_eq!((state.status, state.reason.as_str()), (Some(false), reason), "{}", state.message);
    assert!(state.message.contains(part), "{:?} does not say {part:?}", state.message);
    assert!(state.message.ends_with(['.', '?']), "{:?} is not a sentence", state.message);
    assert!(matches!(&report.relay, RelayState::Unknown(relay) if relay == state));
}

/// Something that answers everything like this.
async fn stand_in(status: StatusCode, body: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(move || async move { (status, body) });
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test]
async fn what_is_not_open_webui_or_not_there() {
    let platform = OpenWebUi::new();
    let at = |url: &str| PlatformPlan { url: url.into(), ..plan(&platform, "nowhere") };
    says(&look(&plan(&platform, "nowhere")).await, "ConnectionRefused", "is the platform running");
    let name = "http://no-such-platform.invalid";
    says(&look(&at(name)).await, "ConnectionFailed", "no-such-platform.invalid does not resolve");
    says(&look(&at("http://169.254.169.254")).await, "EgressRefused", "169.254.169.254");

    let page = stand_in(StatusCode::OK, "<html>hello</html>").await;
    says(&look(&at(&page)).await, "NotOpenWebUI", "look at spec.url");
    says(&look(&at(&page.replace("http:", "https:"))).await, "ConnectionFailed", "does not speak TLS");
    let moved = stand_in(StatusCode::MOVED_PERMANENTLY, "").await;
    says(&look(&at(&moved)).await, "PlatformError", "redirects are not followed");
    let down = stand_in(StatusCode::BAD_GATEWAY, "remote text").await;
    let report = look(&at(&down)).await;
    says(&report, "PlatformError", "HTTP 502");
    assert!(!report.reachable.message.contains("remote text"));
    let old = stand_in(StatusCode::OK, r#"{"version": "0.9.6"}"#).await;
    let report = look(&at(&old)).await;
    says(&report, "VersionUnsupported", "0.9.6, and chathooks needs 0.10.0");
    assert_eq!(report.version.as_deref(), Some("0.9.6"));
}

#[tokio::test]
async fn credentials_that_do_not_do() {
    let platform = shared().await;
    let good = look(&plan(platform, "probe")).await;
    assert_eq!((good.reachable.status, good.version.as_deref()), (Some(true), Some("0.12.4")));
    assert_eq!(good.relay, RelayState::NotWanted);

    let wrong = SensitiveText("sk-00000000000000000000000000000000".into());
    let wrong = PlatformPlan { credentials: PlatformCredentials::ApiKey(wrong), ..plan(platform, "probe") };
    says(&look(&wrong).await, "Unauthorized", "does not know the API key");

    platform.add_user("plain").await;
    let plain = password(plan(platform, "probe"), "plain@example.com", "pw");
    says(&look(&plain).await, "NotAdmin", "not an administrator");
    let admin = password(plan(platform, "probe"), EMAIL, PASSWORD);
    assert_eq!(look(&admin).await.reachable.status, Some(true));

    let wrong = password(plan(platform, "probe"), "nobody@example.com", "wrong");
    let mut keeper = Keeper::new();
    let first = keeper.sync(&wrong, &owner("probe"), &GATE).await;
    says(&first, "Unauthorized", "correct them in the Secret");
    let second = keeper.sync(&wrong, &owner("probe"), &GATE).await;
    assert_eq!((second.reachable, second.calls), (first.reachable, 1), "no second sign-in right after");
}

/// One after another on one database: what can be switched while it runs, then what a start decides.
#[tokio::test]
async fn every_switch_and_a_platform_that_comes_and_goes() {
    let mut platform = OpenWebUi::new();
    platform.start(&[]).await;
    platform.make_key().await;
    let receiver = Receiver::start().await;
    let with_key = relayed(&platform, "switches", &receiver, &["user.*"]);
    let with_password = password(with_key.clone(), EMAIL, PASSWORD);
    let mut keeper = Keeper::new();
    let config = installed(&keeper.sync(&with_key, &owner("switches"), &GATE).await);

    platform.set("auth.api_key.endpoint_restrictions", json!(true)).await;
    platform.set("auth.api_key.allowed_endpoints", json!("/api/v1/models")).await;
    says(&look(&with_key).await, "ApiKeyRestricted", "add that path to API_KEYS_ALLOWED_ENDPOINTS");
    platform.set("auth.api_key.allowed_endpoints", json!("/api/v1/functions")).await;
    assert_eq!(look(&with_key).await.reachable.status, Some(true));
    platform.set("auth.enable_api_keys", json!(false)).await;
    says(&look(&with_key).await, "ApiKeysOff", "ENABLE_API_KEYS=true");
    platform.set("auth.enable_api_keys", json!(true)).await;
    platform.set("auth.api_key.endpoint_restrictions", json!(false)).await;
    platform.set("auth.mfa.enable", json!(true)).await;
    says(&look(&with_password).await, "SecondFactor", "second factor");

    platform.stop().await;
    says(&keeper.sync(&with_key, &owner("switches"), &GATE).await, "ConnectionRefused", "platform running");

    platform.start(&[("ENABLE_FUNCTIONS", "false"), ("ENABLE_PASSWORD_AUTH", "false")]).await;
    let report = keeper.sync(&with_key, &owner("switches"), &GATE).await;
    says(&report, "FunctionsOff", "ENABLE_FUNCTIONS=true");
    let fresh = relayed(&platform, "fresh", &receiver, &["user.*"]);
    says(&look(&fresh).await, "FunctionsOff", "ENABLE_FUNCTIONS=true");
    says(&look(&with_password).await, "PasswordOff", "ENABLE_PASSWORD_AUTH");
    platform.stop().await;

    // Emptied, and safe mode, which switches every function off at a start: it is all put right again.
    platform.data = tempfile::tempdir().unwrap();
    platform.start(&[("SAFE_MODE", "true")]).await;
    says(&keeper.sync(&with_key, &owner("switches"), &GATE).await, "Unauthorized", "API key");
    let before = receiver.received().len();
    let report = keeper.sync(&with_password, &owner("switches"), &GATE).await;
    assert_eq!(installed(&report), config);
    let again = "The relay chathooks_relay_switches was missing and is installed again in Open WebUI.";
    assert_eq!(report.changes, [again]);
    hello(&receiver, "a hello of the new database", |_| receiver.received().len() > before).await;
    platform.stop().await;
}
