//! Where a subscription delivers to.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::common::SecretSource;
use crate::api::rules;

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// An HTTP endpoint.
    Http(HttpTarget),
}

/// An HTTP endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("oneOf" = [{ "required": ["url"] }, { "required": ["urlFrom"] }]))]
#[x_kube(validation = rules::rule("has(self.url) != has(self.urlFrom)", "name exactly one of url and urlFrom"))]
#[x_kube(validation = rules::rule_at(
    "headers",
    "!has(self.auth) || !has(self.headers) || !self.headers.exists(h, h.name.lowerAscii() == 'authorization')",
    "auth sets the Authorization header: remove the header, or remove auth",
))]
pub struct HttpTarget {
    /// Absolute http or https URL, without credentials in it. Plain http must be allowed by the ChatInstance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = rules::http_url())]
    #[x_kube(validation = rules::no_space())]
    pub url: Option<String>,
    /// Where the URL is kept when it is a secret itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_from: Option<SecretSource>,
    /// POST, PUT or PATCH.
    #[serde(default)]
    pub method: HttpMethod,
    /// Headers to send, at most 32. Names compare without case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::rule(
        "self.all(a, self.exists_one(b, a.name.lowerAscii() == b.name.lowerAscii()))",
        "a header stands here twice; names compare without case",
    ))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub headers: Vec<Header>,
    /// How to authenticate: exactly one of basic and bearer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::rule("has(self.basic) != has(self.bearer)", "name exactly one of basic and bearer"))]
    pub auth: Option<TargetAuth>,
}

/// An HTTP method, as HTTP writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    /// `POST`.
    #[default]
    Post,
    /// `PUT`.
    Put,
    /// `PATCH`.
    Patch,
}

impl HttpMethod {
    /// As HTTP writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
        }
    }
}

/// A header to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("oneOf" = [{ "required": ["value"] }, { "required": ["valueFrom"] }]))]
#[x_kube(validation = rules::rule("has(self.value) != has(self.valueFrom)", "name exactly one of value and valueFrom"))]
pub struct Header {
    /// Name of the header.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = rules::rule(
        "self.matches('^[A-Za-z0-9!#$%&*+.^_`|~-]+$')",
        "a header's name consists of letters, digits and '-', without a colon",
    ))]
    #[x_kube(validation = rules::rule(
        "!(self.lowerAscii() in ['host', 'content-length', 'content-type', 'connection', 'keep-alive', \
         'proxy-authenticate', 'proxy-authorization', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', \
         'upgrade']) && !self.lowerAscii().startsWith('webhook-')",
        "this header is set by chathooks or belongs to the connection (Host, Content-Length, Content-Type, \
         webhook-*, hop-by-hop headers): remove it",
    ))]
    pub name: String,
    /// Its value, for anyone to read; secrets belong into valueFrom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    #[x_kube(validation = rules::rule(
        "self.matches('^[!-~]([ -~\\\\t]*[!-~])?$')",
        "a header's value consists of visible ASCII characters, without spaces at its ends",
    ))]
    pub value: Option<String>,
    /// Where the value is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<SecretSource>,
}

/// How to authenticate at a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TargetAuth {
    /// User name and password (RFC 7617).
    Basic(BasicAuth),
    /// A token (RFC 6750).
    Bearer(SecretSource),
}

/// User name and password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    /// Where the user name is kept.
    pub username_from: SecretSource,
    /// Where the password is kept.
    pub password_from: SecretSource,
}
