//! The election against an API server in memory, on tokio's paused clock: no test waits in real time.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use futures::FutureExt as _;
use http::{Method, Request, Response, StatusCode};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::client::Body;
use serde_json::json;
use tokio::time::{advance, sleep, timeout};

use super::*;

const S: Duration = Duration::from_secs(1);
/// The longest pause between two rounds: the retry and a fifth.
const ROUND: Duration = Duration::from_millis(2400);
/// Enough for several rounds of everybody.
const LONG: Duration = Duration::from_mins(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Up,
    /// Every answer is 500.
    Failing,
    /// No answer ever comes, and nothing is done.
    Hanging,
    /// What is asked for is done, but the answer never comes.
    Mute,
    /// Answers take 4 s.
    Slow,
    /// Creations are answered 500.
    NoCreation,
}

struct State {
    mode: Mode,
    lease: Option<Lease>,
    version: u64,
    requests: usize,
}

/// An API server that knows one Lease.
#[derive(Clone)]
struct Server(Arc<Mutex<State>>);

impl Server {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(State { mode: Mode::Up, lease: None, version: 0, requests: 0 })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn mode(&self, mode: Mode) {
        self.state().mode = mode;
    }

    fn spec(&self) -> LeaseSpec {
        self.state().lease.clone().unwrap().spec.unwrap()
    }

    fn holder(&self) -> String {
        self.spec().holder_identity.unwrap()
    }

    /// Someone else writes their name into it.
    fn give_to(&self, holder: &str) {
        let mut state = self.state();
        state.version += 1;
        let mut lease = state.lease.clone().unwrap_or_default();
        lease.metadata.resource_version = Some(state.version.to_string());
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            acquire_time: Some(MicroTime(Timestamp::UNIX_EPOCH)),
            renew_time: Some(MicroTime(Timestamp::UNIX_EPOCH)),
            lease_transitions: Some(7),
            ..LeaseSpec::default()
        });
        state.lease = Some(lease);
    }

    fn client(&self) -> kube::Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        kube::Client::new(service, "ops")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        let collection = "/apis/coordination.k8s.io/v1/namespaces/ops/leases";
        let expected =
            if parts.method == Method::POST { collection.to_owned() } else { format!("{collection}/op") };
        assert_eq!(parts.uri.path(), expected);
        let mode = {
            let mut state = self.state();
            state.requests += 1;
            state.mode
        };
        if mode == Mode::Hanging {
            std::future::pending::<()>().await;
        }
        if mode == Mode::Slow {
            sleep(S * 4).await;
        }
        let answer = if mode == Mode::Failing || (mode == Mode::NoCreation && parts.method == Method::POST) {
            failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
        } else {
            self.apply(&parts.method, &body)
        };
        if mode == Mode::Mute {
            std::future::pending::<()>().await;
        }
        answer
    }

    fn apply(&self, method: &Method, body: &[u8]) -> Response<Body> {
        let mut state = self.state();
        if *method == Method::GET {
            return state.lease.as_ref().map_or_else(not_found, success);
        }
        let mut sent: Lease = serde_json::from_slice(body).unwrap();
        match (&state.lease, method) {
            (Some(_), &Method::POST) => return failure(StatusCode::CONFLICT, "AlreadyExists"),
            (None, &Method::PUT) => return not_found(),
            (Some(stored), &Method::PUT) => {
                assert!(sent.metadata.resource_version.is_some(), "a write that is not guarded");
                if sent.metadata.resource_version != stored.metadata.resource_version {
                    return failure(StatusCode::CONFLICT, "Conflict");
                }
            }
            _ => {}
        }
        state.version += 1;
        sent.metadata.resource_version = Some(state.version.to_string());
        state.lease = Some(sent.clone());
        success(&sent)
    }
}

fn success(lease: &Lease) -> Response<Body> {
    Response::new(Body::from(serde_json::to_vec(lease).unwrap()))
}

fn not_found() -> Response<Body> {
    failure(StatusCode::NOT_FOUND, "NotFound")
}

fn failure(code: StatusCode, reason: &str) -> Response<Body> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "", "reason": reason,
        "code": code.as_u16()
    });
    let mut response = Response::new(Body::from(serde_json::to_vec(&status).unwrap()));
    *response.status_mut() = code;
    response
}

fn run(server: &Server, identity: &str) -> (Leadership, Election) {
    spawn(server.client(), Options::new("ops", "op", identity))
}

/// A process that leads, and the moment at which it began to.
async fn leading(server: &Server, identity: &str) -> (Leadership, Election) {
    let (leadership, election) = run(server, identity);
    timeout(LONG, leadership.acquired()).await.expect("it never led");
    (leadership, election)
}

#[tokio::test(start_paused = true)]
async fn the_first_makes_the_lease_and_keeps_it() {
    let server = Server::new();
    let begun = Instant::now();
    let (leadership, mut election) = leading(&server, "a").await;
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody was there to wait for");
    // The clock since boot goes on while this test runs, and so shortens it a little.
    assert!(leadership.deadline().unwrap() <= begun + S * 10);
    assert!(*leadership.changes().borrow());
    let first = server.spec();
    assert_eq!(first.holder_identity.as_deref(), Some("a"));
    assert_eq!(first.lease_duration_seconds, Some(15));
    assert_eq!(first.lease_transitions, Some(0));
    for _ in 0..100 {
        sleep(S).await;
        assert!(leadership.is_leader());
    }
    let later = server.spec();
    assert_eq!((later.acquire_time, later.lease_transitions), (first.acquire_time, Some(0)));
    assert!(election.ended().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn another_waits_for_the_whole_lease_on_its_own_clock() {
    let server = Server::new();
    server.give_to("gone");
    let begun = Instant::now();
    let (_leadership, _election) = leading(&server, "b").await;
    assert!((S * 15..S * 15 + ROUND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!((server.holder(), server.spec().lease_transitions), ("b".to_owned(), Some(8)));
}

#[tokio::test(start_paused = true)]
async fn who_follows_does_not_lead_while_the_leader_renews() {
    let server = Server::new();
    let (_a, _a_election) = leading(&server, "a").await;
    let (b, _b_election) = run(&server, "b");
    assert!(timeout(LONG, b.acquired()).await.is_err());
    assert_eq!(server.holder(), "a");
}

#[tokio::test(start_paused = true)]
async fn leadership_ends_by_the_clock_when_the_api_fails_or_hangs() {
    for mode in [Mode::Failing, Mode::Hanging, Mode::Mute] {
        let server = Server::new();
        let (leadership, _election) = leading(&server, "a").await;
        let mut changes = leadership.changes();
        changes.borrow_and_update();
        server.mode(mode);
        let begun = Instant::now();
        timeout(LONG, changes.wait_for(|leads| !leads)).await.unwrap().unwrap();
        assert!(!leadership.is_leader());
        assert!(
            begun.elapsed() < S * 10 + Duration::from_millis(5),
            "{mode:?}: told after {:?}",
            begun.elapsed()
        );
        assert!(timeout(LONG, leadership.acquired()).await.is_err(), "{mode:?}: nothing was confirmed");

        server.mode(Mode::Up);
        let back = Instant::now();
        timeout(LONG, leadership.acquired()).await.unwrap();
        assert!(
            back.elapsed() < S * 5 + ROUND,
            "{mode:?}: nobody else held it, so there is nothing to wait for"
        );
        assert_eq!(server.spec().lease_transitions, Some(0));
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_that_hangs_is_tried_again_within_the_term() {
    let server = Server::new();
    let (leadership, _election) = leading(&server, "a").await;
    server.mode(Mode::Hanging);
    sleep(S * 4).await;
    server.mode(Mode::Up);
    for _ in 0..20 {
        sleep(S).await;
        assert!(leadership.is_leader());
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_is_lost_until_it_was_made_again() {
    let server = Server::new();
    let (leadership, _election) = leading(&server, "a").await;
    server.mode(Mode::NoCreation);
    server.state().lease = None;
    sleep(ROUND).await;
    assert!(!leadership.is_leader());
    assert!(!*leadership.changes().borrow());
    server.mode(Mode::Up);
    timeout(ROUND * 2, leadership.acquired()).await.expect("it was ours, so there is nobody to wait for");
    assert_eq!(server.holder(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_follower_does_not_make_a_deleted_lease_before_its_holder_knows() {
    let server = Server::new();
    server.give_to("holder");
    let (b, _election) = run(&server, "b");
    sleep(S * 14).await;
    server.state().lease = None;
    let deleted = Instant::now();
    timeout(LONG, b.acquired()).await.unwrap();
    assert!((S * 15..S * 15 + ROUND * 2).contains(&deleted.elapsed()), "{:?}", deleted.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stolen_lease_is_lost_at_the_next_look_and_respected() {
    let server = Server::new();
    let (leadership, _election) = leading(&server, "a").await;
    server.give_to("thief");
    sleep(ROUND).await;
    assert!(!leadership.is_leader());
    assert_eq!(server.holder(), "thief");
    let lost = Instant::now();
    timeout(LONG, leadership.acquired()).await.unwrap();
    assert!(lost.elapsed() + ROUND > S * 15, "{:?}", lost.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_stopped_does_not_lead_when_it_wakes_up() {
    let server = Server::new();
    let (leadership, _election) = leading(&server, "a").await;
    // The first poll moves the clock; no task has run since.
    assert!(advance(S * 11).now_or_never().is_none());
    assert!(*leadership.changes().borrow(), "nothing of it has run yet");
    assert!(!leadership.is_leader());
    assert_eq!(leadership.deadline(), None);

    server.give_to("b");
    let held = Instant::now();
    timeout(LONG, leadership.acquired()).await.unwrap();
    assert!(held.elapsed() >= S * 15, "{:?}", held.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_term_that_ended_before_its_renewal_was_answered_is_told_as_lost() {
    let server = Server::new();
    let (leadership, _election) = leading(&server, "a").await;
    let mut changes = leadership.changes();
    changes.borrow_and_update();
    server.mode(Mode::Slow);
    sleep(S * 3).await;
    // Stopped with the renewal under way: whoever wants to write now finds that nobody here leads.
    assert!(advance(S * 8).now_or_never().is_none());
    assert!(!leadership.is_leader());
    timeout(LONG, leadership.acquired()).await.unwrap();
    assert!(*changes.borrow());
    assert!(changes.has_changed().unwrap(), "those who gave up would never look again");
}

#[tokio::test(start_paused = true)]
async fn a_release_hands_over_at_once() {
    let server = Server::new();
    let (a, a_election) = leading(&server, "a").await;
    let (b, _b_election) = run(&server, "b");
    sleep(S * 5).await;
    assert!(!b.is_leader());
    a_election.release().await;
    assert!(!a.is_leader());
    assert_eq!((server.holder(), server.spec().lease_duration_seconds), (String::new(), Some(1)));
    let released = Instant::now();
    timeout(LONG, b.acquired()).await.unwrap();
    assert!(released.elapsed() <= ROUND, "{:?}", released.elapsed());
    assert_eq!((server.holder(), server.spec().lease_transitions), ("b".to_owned(), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn a_release_touches_only_what_is_ours_and_does_not_hang() {
    let server = Server::new();
    let (_a, election) = leading(&server, "a").await;
    server.give_to("thief");
    election.release().await;
    assert_eq!(server.holder(), "thief");

    let server = Server::new();
    let (a, election) = leading(&server, "a").await;
    server.mode(Mode::Hanging);
    timeout(S * 11, election.release()).await.expect("it waits for an API that hangs");
    assert!(!a.is_leader());
    assert_eq!(server.holder(), "a", "the others wait for its end");
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_under_the_same_name_need_not_wait() {
    let server = Server::new();
    server.give_to("a");
    let begun = Instant::now();
    let (_leadership, _election) = leading(&server, "a").await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_ne!(server.spec().acquire_time, Some(MicroTime(Timestamp::UNIX_EPOCH)));
    assert_eq!(server.spec().lease_transitions, Some(7), "the holder is the same");
}

#[tokio::test(start_paused = true)]
async fn of_two_processes_with_one_name_the_newer_leads() {
    let server = Server::new();
    let (older, _older_election) = leading(&server, "a").await;
    // Real time passes nowhere else here, and `acquireTime` tells the two apart.
    std::iter::repeat_with(Timestamp::now).find(|now| Some(MicroTime(*now)) > server.spec().acquire_time);
    let (newer, _newer_election) = leading(&server, "a").await;
    sleep(ROUND).await;
    for _ in 0..60 {
        sleep(S).await;
        assert_eq!((older.is_leader(), newer.is_leader()), (false, true));
    }
}

#[tokio::test(start_paused = true)]
async fn an_election_that_was_dropped_ends_with_its_term() {
    let server = Server::new();
    let (leadership, election) = leading(&server, "a").await;
    drop(election);
    sleep(ROUND).await;
    assert!(!leadership.is_leader());
    let requests = server.state().requests;
    sleep(LONG).await;
    assert_eq!(server.state().requests, requests, "nobody renews");
    assert_eq!(server.holder(), "a");
    assert!(timeout(LONG, leadership.acquired()).await.is_err());
}

#[test]
fn a_term_is_always_shorter_than_the_lease() {
    let options = Options { renew_deadline: S * 60, ..Options::new("ops", "op", "a") };
    assert_eq!(options.term(), S * 10);
    assert_eq!(options.call(), S * 5);
}
