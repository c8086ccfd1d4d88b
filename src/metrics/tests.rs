//! Unit tests of `metrics`.

use std::sync::Arc;

use http::{Method, StatusCode};

use super::{EventResult, Metrics};
use crate::dispatcher::snapshot::{Counters, InstanceSnapshot, SubscriptionSnapshot};
use crate::log::Usage;

/// The lines of the output that begin with `name`, sorted.
fn lines(metrics: &Metrics, name: &str) -> Vec<String> {
    let text = metrics.encode().unwrap();
    let mut lines: Vec<_> = text.lines().filter(|l| l.starts_with(name)).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn server_requests_are_counted_by_method_route_and_status() {
    let metrics = Metrics::new("abc");
    metrics.server_request(&Method::POST, "/v1/events").answered(StatusCode::ACCEPTED);
    metrics.server_request(&Method::from_bytes(b"BREW").unwrap(), "").answered(StatusCode::NOT_FOUND);
    let under_way = metrics.server_request(&Method::POST, "/v1/events");

    assert_eq!(
        lines(&metrics, "http_server_request_duration_seconds_count"),
        [
            r#"http_server_request_duration_seconds_count{http_request_method="POST",http_route="/v1/events",http_response_status_code="202"} 1"#,
            r#"http_server_request_duration_seconds_count{http_request_method="_OTHER",http_route="",http_response_status_code="404"} 1"#,
        ]
    );
    let active = r#"http_server_active_requests{http_request_method="POST"}"#;
    assert_eq!(lines(&metrics, active), [format!("{active} 1")]);
    drop(under_way);
    assert_eq!(lines(&metrics, active), [format!("{active} 0")]);
    assert_eq!(
        lines(&metrics, "chathooks_build_info"),
        [r#"chathooks_build_info{version="0.1.0",revision="abc"} 1"#]
    );
}

#[test]
fn events_are_counted_by_result() {
    let metrics = Metrics::new("");
    metrics.intake_events("ai", "chat", EventResult::Accepted, 3);
    metrics.intake_events("ai", "chat", EventResult::Conflict, 1);
    metrics.intake_events("ai", "chat", EventResult::Duplicate, 0);
    assert_eq!(
        lines(&metrics, "chathooks_intake_events_total"),
        [
            r#"chathooks_intake_events_total{namespace="ai",chat_instance="chat",result="accepted"} 3"#,
            r#"chathooks_intake_events_total{namespace="ai",chat_instance="chat",result="conflict"} 1"#,
        ]
    );
}

#[test]
fn a_subscription_has_series_as_long_as_it_lives() {
    let metrics = Metrics::new("");
    let recorder = metrics.client("ai", "siem");
    recorder.observe("POST", Some(200), None, 0.1);
    recorder.observe("POST", Some(599), None, 0.1);
    metrics.client("ai", "siem").observe("POST", None, Some("timeout"), 30.0);
    assert_eq!(
        lines(&metrics, "http_client_request_duration_seconds_count"),
        [
            r#"http_client_request_duration_seconds_count{http_request_method="POST",http_response_status_code="",error_type="timeout",namespace="ai",subscription="siem"} 1"#,
            r#"http_client_request_duration_seconds_count{http_request_method="POST",http_response_status_code="200",error_type="",namespace="ai",subscription="siem"} 1"#,
            r#"http_client_request_duration_seconds_count{http_request_method="POST",http_response_status_code="500",error_type="500",namespace="ai",subscription="siem"} 1"#,
        ]
    );
    drop(recorder);
    assert_eq!(lines(&metrics, "http_client_request_duration_seconds_count"), Vec::<String>::new());
}

#[test]
fn recorders_beyond_the_bound_share_one() {
    let metrics = Metrics::new("");
    let all: Vec<_> = (0..1002).map(|i| metrics.client("ai", &format!("s{i}"))).collect();
    for recorder in &all {
        recorder.observe("POST", Some(204), None, 0.01);
    }
    let counts = lines(&metrics, "http_client_request_duration_seconds_count");
    assert_eq!(counts.len(), 1001);
    assert!(counts.iter().any(|line| line.ends_with(r#"namespace="_other",subscription="_other"} 2"#)));
}

#[test]
fn logs_and_subscriptions_are_gathered_when_asked() {
    let subscriptions = (0..1003)
        .map(|i| SubscriptionSnapshot {
            namespace: "ai".into(),
            name: format!("s{i}"),
            counters: Counters { delivered: 7, pending: 1, ..Counters::default() },
            ..SubscriptionSnapshot::default()
        })
        .collect();
    let usage = Usage {
        capacity_bytes: 1_073_741_824,
        live_bytes: 2048,
        oldest_ms: Some(1_000),
        corrupt_records: 1,
        dedup_window_ms: 90_000,
        ..Usage::default()
    };
    let instance = InstanceSnapshot {
        namespace: "ai".into(),
        name: "chat".into(),
        taken_ms: 3_500,
        usage,
        subscriptions,
        ..InstanceSnapshot::default()
    };
    let metrics = Metrics::new("");
    assert_eq!(lines(&metrics, "chathooks_log_"), Vec::<String>::new());
    metrics.set_snapshot(Arc::new(move || vec![instance.clone()]));

    let of = |name: &str| lines(&metrics, name);
    assert_eq!(
        of("chathooks_log_capacity_bytes"),
        [r#"chathooks_log_capacity_bytes{namespace="ai",chat_instance="chat"} 1073741824.0"#]
    );
    assert_eq!(
        of("chathooks_log_oldest_age_seconds"),
        [r#"chathooks_log_oldest_age_seconds{namespace="ai",chat_instance="chat"} 2.5"#]
    );
    assert_eq!(
        of("chathooks_log_corrupt_records_total"),
        [r#"chathooks_log_corrupt_records_total{namespace="ai",chat_instance="chat"} 1.0"#]
    );
    let delivered = of("chathooks_subscription_delivered_events_total");
    assert_eq!(delivered.len(), 1001);
    assert_eq!(
        delivered.last().map(String::as_str),
        Some(r#"chathooks_subscription_delivered_events_total{namespace="ai",subscription="s999"} 7.0"#)
    );
    assert!(delivered.iter().any(|line| {
        line == r#"chathooks_subscription_delivered_events_total{namespace="_other",subscription="_other"} 21.0"#
    }));
}
