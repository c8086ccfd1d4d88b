//! The one HTTP client through which anything leaves: every address is judged when it is connected to.
//!
//! The rules themselves are `plan::egress`, pure. Redirects are not followed and no proxy is used, so the address
//! judged is the address spoken to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;
use url::Url;

use crate::plan::egress::{Refusal, explain, judge, judge_url};
use crate::plan::model::EgressPlan;

/// Longest wait for a connection, TLS included; the deadline of the exchange may be shorter.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept for the next delivery.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Idle connections kept per host.
const MAX_IDLE_PER_HOST: usize = 64;
/// Name look-ups under way at once in the process: each holds a thread for as long as the resolver takes.
const MAX_LOOKUPS: usize = 64;
/// Addresses of a name that are tried.
const MAX_ADDRESSES: usize = 16;

static LOOKUPS: Semaphore = Semaphore::const_new(MAX_LOOKUPS);

/// A client bound to one ChatInstance's egress rules.
#[derive(Clone, Debug)]
pub struct EgressClient {
    client: reqwest::Client,
    rules: Arc<EgressPlan>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client could not be set up, look at the system's CA certificates: {0}")]
pub struct ClientError(#[from] reqwest::Error);

impl EgressClient {
    /// Builds a client for these rules.
    pub fn new(rules: Arc<EgressPlan>) -> Result<Self, ClientError> {
        Self::trusting(rules, &[])
    }

    /// The same, which trusts these authorities beside the system's.
    pub fn trusting(
        rules: Arc<EgressPlan>,
        authorities: &[reqwest::Certificate],
    ) -> Result<Self, ClientError> {
        let mut builder = reqwest::Client::builder();
        if !authorities.is_empty() {
            builder = builder.tls_certs_merge(authorities.iter().cloned());
        }
        let client = builder
            .user_agent(concat!("chathooks/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
            .dns_resolver(GuardedResolver { rules: Arc::clone(&rules) })
            .build()?;
        Ok(Self { client, rules })
    }

    /// The rules it was built for.
    pub fn rules(&self) -> &EgressPlan {
        &self.rules
    }

    /// Begins a request. Scheme and literal address are judged here, a name when it is resolved. The error is a sentence
    /// with the lines to add.
    pub fn request(&self, method: reqwest::Method, url: Url) -> Result<reqwest::RequestBuilder, String> {
        judge_url(&url, &self.rules).map_err(|refusals| explain(&refusals))?;
        Ok(self.client.request(method, url))
    }
}

/// The refusal behind a failed request, if that is why it failed.
pub fn refusal(error: &reqwest::Error) -> Option<&Refusal> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(refusal) = error.downcast_ref::<Refusal>() {
            return Some(refusal);
        }
        source = error.source();
    }
    None
}

/// Resolves names and hands on only addresses that the rules let through; the connector uses just these, so a name
/// that changes its address between check and use gains nothing.
struct GuardedResolver {
    rules: Arc<EgressPlan>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = Arc::clone(&self.rules);
        Box::pin(async move {
            let _permit = LOOKUPS.acquire().await?;
            let host = name.as_str();
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((host, 0)).await?.take(MAX_ADDRESSES).collect();
            let (allowed, refused): (Vec<_>, Vec<_>) = found
                .into_iter()
                .map(|addr| judge(addr.ip(), Some(host), &rules).map(|()| addr))
                .partition(Result::is_ok);
            let allowed: Vec<SocketAddr> = allowed.into_iter().flatten().collect();
            if allowed.is_empty()
                && let Some(Err(refusal)) = refused.into_iter().next()
            {
                return Err(Box::new(refusal) as _);
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}
