//! Who a client of the control plane is: keys that sign tokens, kubeconfig files, clients.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

/// How long a token is good, in seconds: longer than any test.
const TOKEN_SECONDS: i64 = 24 * 3600;

/// What precedes the point of a P-256 public key in its SubjectPublicKeyInfo (RFC 5480).
const P256_INFO: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Writes a new key pair that signs ServiceAccount tokens: `service-account.key` and `service-account.pub`.
pub fn write_signing_keys(folder: &Path) {
    let random = SystemRandom::new();
    let private = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, private.as_ref(), &random).unwrap();
    let public = [P256_INFO.as_slice(), pair.public_key().as_ref()].concat();
    fs::write(folder.join("service-account.key"), pem("PRIVATE KEY", private.as_ref())).unwrap();
    fs::write(folder.join("service-account.pub"), pem("PUBLIC KEY", &public)).unwrap();
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Where an API server is, and the certificate to know it by.
#[derive(Clone, Debug)]
pub struct Access {
    pub server: String,
    pub authority: PathBuf,
}

impl Access {
    /// A kubeconfig; JSON is YAML too.
    pub fn kubeconfig(&self, token: &str, namespace: &str) -> Value {
        let cluster = json!({"server": self.server, "certificate-authority": self.authority});
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
        })
    }

    /// A client with this token. It lives as long as the runtime of the test that makes it.
    pub async fn client(&self, token: &str) -> Client {
        // An error means that a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig: Kubeconfig = serde_json::from_value(self.kubeconfig(token, "default")).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }
}

/// A token of a ServiceAccount from the API server, as a pod gets it.
pub async fn token(admin: &Client, namespace: &str, service_account: &str) -> Result<String, kube::Error> {
    let accounts = Api::<ServiceAccount>::namespaced(admin.clone(), namespace);
    let spec = TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..Default::default() };
    let request = TokenRequest { spec: Some(spec), ..Default::default() };
    let answer = accounts.create_token_request(service_account, &PostParams::default(), &request).await?;
    Ok(answer.status.unwrap().token.unwrap())
}
