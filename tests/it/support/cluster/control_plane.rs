//! etcd and kube-apiserver, started in seconds, with our CRDs installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::sync::OnceCell;

use super::identity::Access;
use super::process::{Process, temporary_folder};
use super::{Audit, audit, binaries, identity, ports, wait_for};

/// The token of the user `admin`, who is in `system:masters`. The API server listens on 127.0.0.1 only.
const ADMIN_TOKEN: &str = "admin";

/// Start and restart of a server, on a machine that builds something else at the same time.
const START: Duration = Duration::from_mins(2);

/// Stopped API servers get this long for their open requests.
const STOP: Duration = Duration::from_secs(3);

/// A control plane in a folder of its own.
pub struct ControlPlane {
    folder: PathBuf,
    binaries: PathBuf,
    etcd_port: u16,
    port: u16,
    etcd: Mutex<Process>,
    api_server: Mutex<Option<Process>>,
}

impl ControlPlane {
    /// The one that the tests of this process share, each in namespaces of its own. Do not stop it.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        SHARED.get_or_init(|| Self::start_in(temporary_folder())).await
    }

    /// One for a test that stops it.
    pub async fn private() -> Self {
        Self::start_in(temporary_folder()).await
    }

    /// A private one that does not know our kinds, until [`Self::install`].
    pub async fn bare() -> Self {
        Self::start_bare_in(temporary_folder()).await
    }

    /// Starts one that keeps everything in `folder`, and installs what every test needs.
    pub async fn start_in(folder: PathBuf) -> Self {
        let plane = Self::start_bare_in(folder).await;
        plane.install().await;
        plane
    }

    async fn start_bare_in(folder: PathBuf) -> Self {
        let binaries = binaries::folder();
        fs::create_dir_all(&folder).unwrap();
        identity::write_signing_keys(&folder);
        fs::write(folder.join("tokens.csv"), format!("{ADMIN_TOKEN},admin,admin,system:masters\n")).unwrap();
        fs::write(folder.join("audit-policy.yaml"), audit::POLICY).unwrap();
        let (etcd_port, port) = (ports::free_port(), ports::free_port());
        let etcd = start_etcd(&binaries, &folder, etcd_port);
        let plane =
            Self { folder, binaries, etcd_port, port, etcd: Mutex::new(etcd), api_server: Mutex::new(None) };
        plane.start_api_server().await;
        plane
    }

    /// Starts the API server, again after [`Self::stop_api_server`], and waits until it is ready.
    pub async fn start_api_server(&self) {
        *self.api_server.lock().unwrap() = Some(self.spawn_api_server());
        // The server writes its certificate when it starts for the first time.
        wait_for("the API server writes its certificate", START, async || {
            self.assert_alive();
            self.authority().is_file().then_some(())
        })
        .await;
        let admin = self.admin().await;
        wait_for("the API server is ready", START, async || {
            self.assert_alive();
            let request = http::Request::get("/readyz").body(Vec::new()).unwrap();
            (admin.request_text(request).await.ok()? == "ok").then_some(())
        })
        .await;
    }

    /// Stops the API server; etcd keeps what there is.
    pub async fn stop_api_server(&self) {
        let server = self.api_server.lock().unwrap().take();
        if let Some(mut server) = server {
            server.terminate(STOP).await;
        }
    }

    pub fn access(&self) -> Access {
        Access { server: format!("https://127.0.0.1:{}", self.port), authority: self.authority() }
    }

    /// A client that may do everything.
    pub async fn admin(&self) -> Client {
        self.client_for(ADMIN_TOKEN).await
    }

    pub async fn client_for(&self, token: &str) -> Client {
        self.access().client(token).await
    }

    /// A kubeconfig file of the user `admin`.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.write_kubeconfig("admin", ADMIN_TOKEN, "default")
    }

    /// A kubeconfig file of a ServiceAccount, with a token from the API server as a pod gets it.
    pub async fn kubeconfig_for(
        &self,
        namespace: &str,
        service_account: &str,
    ) -> Result<PathBuf, kube::Error> {
        let token = self.token_for(namespace, service_account).await?;
        Ok(self.write_kubeconfig(&format!("{namespace}-{service_account}"), &token, namespace))
    }

    /// A token of a ServiceAccount, for [`Self::client_for`].
    pub async fn token_for(&self, namespace: &str, service_account: &str) -> Result<String, kube::Error> {
        identity::token(&self.admin().await, namespace, service_account).await
    }

    /// A new namespace that takes restricted pods only.
    pub async fn namespace(&self) -> String {
        let name = format!("test-{:08x}", rand::random::<u32>());
        self.create_namespace(&name).await;
        name
    }

    pub async fn create_namespace(&self, name: &str) {
        let namespace: Namespace = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        }))
        .unwrap();
        Api::all(self.admin().await).create(&PostParams::default(), &namespace).await.unwrap();
    }

    /// What was asked of this API server, since its first start.
    pub fn audit(&self) -> Audit {
        Audit::new(&self.folder.join("audit.log"))
    }

    /// Where this control plane and what runs beside it keep their files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn authority(&self) -> PathBuf {
        self.folder.join("certificates/apiserver.crt")
    }

    fn write_kubeconfig(&self, name: &str, token: &str, namespace: &str) -> PathBuf {
        let file = self.folder.join(format!("{name}.kubeconfig"));
        fs::write(&file, self.access().kubeconfig(token, namespace).to_string()).unwrap();
        file
    }

    fn spawn_api_server(&self) -> Process {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let mut command = Command::new(self.binaries.join("kube-apiserver"));
        command.args([
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            format!("--secure-port={}", self.port),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            // Nobody looks for the Service `kubernetes`, and its EndpointSlice would refuse 127.0.0.1.
            "--endpoint-reconciler-type=none".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            format!("--cert-dir={}", file("certificates")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", file("service-account.pub")),
            format!("--service-account-signing-key-file={}", file("service-account.key")),
            "--authorization-mode=Node,RBAC".to_owned(),
            format!("--token-auth-file={}", file("tokens.csv")),
            // Nobody makes default accounts and the ConfigMap of the root certificate.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            format!("--audit-policy-file={}", file("audit-policy.yaml")),
            format!("--audit-log-path={}", file("audit.log")),
            // In megabytes, and never reached: marks are places in one file.
            "--audit-log-maxsize=10000".to_owned(),
        ]);
        Process::start(&mut command, &self.folder.join("kube-apiserver.log"))
    }

    fn assert_alive(&self) {
        let mut etcd = self.etcd.lock().unwrap();
        assert!(etcd.is_running(), "etcd ended:\n{}", etcd.last_words());
        let mut server = self.api_server.lock().unwrap();
        let server = server.as_mut().expect("the API server was started");
        assert!(server.is_running(), "kube-apiserver ended:\n{}", server.last_words());
    }

    /// Our CRDs, and a storage class whose claims may grow.
    pub async fn install(&self) {
        let admin = self.admin().await;
        let crds = Api::<CustomResourceDefinition>::all(admin.clone());
        for crd in chathooks::api::crds::all() {
            create_missing(&crds, &crd).await;
        }
        wait_for("the CRDs are established", START, async || {
            let list = crds.list(&ListParams::default()).await.ok()?;
            list.items.iter().all(is_established).then_some(())
        })
        .await;
        let class: StorageClass = serde_json::from_value(json!({
            "metadata": {
                "name": "standard",
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": "chathooks.dev/tests",
            "allowVolumeExpansion": true,
        }))
        .unwrap();
        create_missing(&Api::all(admin), &class).await;
    }
}

/// A folder that was used before holds everything already.
async fn create_missing<K>(api: &Api<K>, object: &K)
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    match api.create(&PostParams::default(), object).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        Err(kube::Error::Api(status)) => panic!("{} is refused: {}", object.name_any(), status.message),
        Err(error) => panic!("{}: {error}", object.name_any()),
    }
}

fn is_established(crd: &CustomResourceDefinition) -> bool {
    let conditions = crd.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|conditions| {
        conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
    })
}

fn start_etcd(binaries: &Path, folder: &Path, port: u16) -> Process {
    let url = format!("http://127.0.0.1:{port}");
    let mut command = Command::new(binaries.join("etcd"));
    command.arg("--data-dir").arg(folder.join("etcd"));
    command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
    command.args(["--listen-peer-urls", "http://127.0.0.1:0", "--unsafe-no-fsync", "--log-level", "warn"]);
    Process::start(&mut command, &folder.join("etcd.log"))
}
