//! A plain HTTP endpoint: the envelope as it came, signed.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder};
use url::Url;

use crate::dispatcher::signing;
use crate::egress::EgressClient;
use crate::event::Event;
use crate::plan::model::{HttpTargetPlan, Sensitive};

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// A target ready to be sent to: everything that is the same for every event is prepared.
#[derive(Debug)]
pub struct HttpTarget {
    url: Url,
    method: Method,
    headers: HeaderMap,
    signing_keys: Vec<Sensitive>,
}

impl HttpTarget {
    /// Prepares a target. The plan was checked, so an error (a sentence) means a plan from elsewhere.
    pub fn new(plan: &HttpTargetPlan, signing_keys: &[Sensitive]) -> Result<Self, String> {
        let url =
            Url::parse(&plan.url.0).map_err(|error| format!("the target's url is not a URL: {error}"))?;
        let method = plan.method.parse().map_err(|_| format!("{} is not an HTTP method", plan.method))?;
        let mut headers = HeaderMap::with_capacity(plan.headers.len() + 4);
        for (name, value) in &plan.headers {
            let key = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| format!("{name:?} is not the name of an HTTP header"))?;
            let mut value = HeaderValue::from_bytes(value.0.as_bytes())
                .map_err(|_| format!("the value of header {name} has characters a header cannot carry"))?;
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Self { url, method, headers, signing_keys: signing_keys.to_vec() })
    }

    /// The host part of the URL, for messages and metrics.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The request of one attempt. `now` is the attempt's time in Unix seconds, which is what gets signed. The error is
    /// why the egress rules refuse it.
    pub fn request(&self, client: &EgressClient, event: &Event, now: i64) -> Result<RequestBuilder, String> {
        let body: Bytes = event.json.clone();
        let id = signing::webhook_id(&event.id);
        let mut headers = self.headers.clone();
        headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(now));
        if let Some(signature) = signing::signature(&self.signing_keys, &id, now, &body)
            && let Ok(signature) = HeaderValue::try_from(signature)
        {
            headers.insert(WEBHOOK_SIGNATURE, signature);
        }
        if let Ok(id) = HeaderValue::try_from(id) {
            headers.insert(WEBHOOK_ID, id);
        }
        Ok(client.request(self.method.clone(), self.url.clone())?.headers(headers).body(body))
    }
}
