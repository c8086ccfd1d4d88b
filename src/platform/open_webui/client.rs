//! One HTTP call to the platform: guarded, bounded in time and size, and its failures as sentences.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use ipnet::IpNet;
use reqwest::{Certificate, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::{Host, Url};

use crate::api::conditions::{State, reason};
use crate::egress::{EgressClient, refusal};
use crate::plan::model::EgressPlan;
use crate::plan::platform::PlatformPlan;

/// Longest a call may take, answer included.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is read.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// Speaks to one platform.
#[derive(Debug)]
pub(super) struct Client {
    http: EgressClient,
    base: Url,
    /// Host and port, for messages.
    pub(super) host: String,
    /// Calls made so far.
    pub(super) calls: u32,
}

/// A status and a body that was read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    body: BytesMut,
}

impl Answer {
    /// The body as JSON; `None` where it is something else.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Whether the body has this text, which must be one of the platform's own names and not a message to show.
    pub(super) fn mentions(&self, word: &str) -> bool {
        self.body.windows(word.len()).any(|window| window == word.as_bytes())
    }
}

impl Client {
    /// A client for this plan. The error says what is wrong with it.
    pub(super) fn new(plan: &PlatformPlan) -> Result<Self, State> {
        let base =
            Url::parse(&plan.url).ok().filter(|url| url.has_host() && !url.cannot_be_a_base()).ok_or_else(
                || State::no(reason::CONNECTION_FAILED, "spec.url is not the address of a platform."),
            )?;
        let port = base.port().map_or_else(String::new, |port| format!(":{port}"));
        let host = format!("{}{port}", base.host_str().unwrap_or_default());
        let authorities = match &plan.ca_pem {
            Some(pem) => Certificate::from_pem_bundle(pem.as_bytes()).map_err(|_| {
                State::no(
                    reason::CONNECTION_FAILED,
                    "What spec.tls.caFrom names holds no certificates in PEM form.",
                )
            })?,
            None => Vec::new(),
        };
        let http =
            EgressClient::trusting(Arc::new(rules(&base, &plan.egress)), &authorities).map_err(|_| {
                State::no(
                    reason::CONNECTION_FAILED,
                    "The HTTP client could not be set up: look at the certificates of spec.tls.caFrom and of the system.",
                )
            })?;
        Ok(Self { http, base, host, calls: 0 })
    }

    /// Makes one call, within `timeout`. Any status is an answer.
    pub(super) async fn call(
        &mut self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&(impl Serialize + Sync)>,
        timeout: Duration,
    ) -> Result<Answer, State> {
        self.calls += 1;
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        let mut request =
            self.http.request(method, url).map_err(|why| State::no(reason::EGRESS_REFUSED, why))?;
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            let text = serde_json::to_vec(body).map_err(|_| broken(&self.host))?;
            request = request.header(http::header::CONTENT_TYPE, "application/json").body(text);
        }
        match tokio::time::timeout(timeout, read(request)).await {
            Ok(Ok(Some(answer))) => Ok(answer),
            Ok(Ok(None)) => Err(State::no(
                reason::PLATFORM_ERROR,
                format!("{} gave an answer of more than 8 MiB.", self.host),
            )),
            Ok(Err(error)) => Err(unsent(&error, &self.host)),
            Err(_) => Err(State::no(
                reason::TIMEOUT,
                format!("{} gave no answer within {} seconds.", self.host, timeout.as_secs()),
            )),
        }
    }
}

/// Reads up to the bound; `None` where there is more.
async fn read(request: reqwest::RequestBuilder) -> Result<Option<Answer>, reqwest::Error> {
    let mut response = request.send().await?;
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(Answer { status: response.status(), body }))
}

/// The rules of deliveries, with the platform's own host among what is allowed.
fn rules(base: &Url, egress: &EgressPlan) -> EgressPlan {
    let mut rules = egress.clone();
    rules.plain_http |= base.scheme() == "http";
    match base.host() {
        Some(Host::Domain(name)) => {
            rules.allowed_hosts.push(name.trim_end_matches('.').to_ascii_lowercase());
        }
        Some(Host::Ipv4(address)) => rules.allowed_cidrs.push(IpNet::from(std::net::IpAddr::V4(address))),
        Some(Host::Ipv6(address)) => rules.allowed_cidrs.push(IpNet::from(std::net::IpAddr::V6(address))),
        None => {}
    }
    rules
}

fn broken(host: &str) -> State {
    State::no(reason::INTERNAL_ERROR, format!("A request to {host} could not be written."))
}

fn unsent(error: &reqwest::Error, host: &str) -> State {
    if let Some(refusal) = refusal(error) {
        return State::no(reason::EGRESS_REFUSED, refusal.to_string());
    }
    if !error.is_connect() {
        return State::no(
            reason::CONNECTION_LOST,
            format!("The connection to {host} ended before there was an answer."),
        );
    }
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<io::Error>() {
            if cause.kind() == io::ErrorKind::ConnectionRefused {
                return State::no(
                    reason::CONNECTION_REFUSED,
                    format!("{host} refused the connection: is the platform running, and is spec.url right?"),
                );
            }
            if let Some(sentence) = tls(cause, host) {
                return State::no(reason::CONNECTION_FAILED, sentence);
            }
        }
        if cause.to_string().contains("dns error") {
            return State::no(
                reason::CONNECTION_FAILED,
                format!("The name in {host} does not resolve: look at spec.url."),
            );
        }
        source = cause.source();
    }
    if error.is_timeout() {
        return State::no(reason::TIMEOUT, format!("No connection to {host} was made in time."));
    }
    State::no(reason::CONNECTION_FAILED, format!("No connection to {host} could be made: look at spec.url."))
}

/// What a failed TLS handshake means; `None` where it is no such failure.
fn tls(error: &io::Error, host: &str) -> Option<String> {
    let inner = error.get_ref()?;
    if let Some(error) = inner.downcast_ref::<io::Error>() {
        return tls(error, host);
    }
    Some(match inner.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(_) => format!(
            "The certificate of {host} is not trusted, or is for another name: name its authority in spec.tls.caFrom, or look at spec.url."
        ),
        _ => format!("{host} does not speak TLS as expected: is it http:// in spec.url that is meant?"),
    })
}
