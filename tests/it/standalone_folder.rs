//! What `chathooks standalone` makes of its folder: changes, mistakes, generated Secrets.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::Value;

use crate::support::product::{Product, subscription};
use crate::support::receiver::Receiver;
use crate::support::{envelope, eventually};

const GENERATED: &str = r"
apiVersion: chathooks.dev/v1alpha1
kind: ChatInstance
metadata: { name: made, namespace: ai }
spec:
  platform: Generic
  dispatcher:
    egress: { plainHttp: Allow, allowedCIDRs: [127.0.0.0/8] }
";

async fn files(product: &Product, what: &str, check: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    eventually(what, async || {
        let files = product.status().await["files"].as_array().cloned()?;
        check(&files).then_some(files)
    })
    .await
}

async fn generation(product: &Product, name: &str, generation: i64) {
    eventually(&format!("generation {generation} of {name}"), async || {
        let object = product.object("WebhookSubscription", name).await?;
        (object["observedGeneration"] == generation).then_some(())
    })
    .await;
}

#[tokio::test]
async fn added_changed_and_removed_files_take_effect_while_it_runs() {
    let receiver = Receiver::start().await;
    let mut product = Product::new();
    product.start().await;
    assert_eq!(product.object("WebhookSubscription", "s").await, None);

    product.write("sub.yaml", &subscription("s", &receiver.url("/one"), "events: ['*']"));
    product.served("s").await;
    generation(&product, "s", 1).await;
    product.accept(&[envelope("one", "chat.created")]).await;
    product.counter("s", "delivered", 1).await;

    product.write("sub.yaml", &subscription("s", &receiver.url("/two"), "events: ['*']"));
    generation(&product, "s", 2).await;
    product.served("s").await;
    product.accept(&[envelope("two", "chat.created")]).await;
    product.counter("s", "delivered", 2).await;
    let paths: Vec<String> = receiver.received().into_iter().map(|received| received.path).collect();
    assert_eq!(paths, ["/one", "/two"]);

    product.remove("sub.yaml");
    eventually("the subscription is gone", async || {
        product.object("WebhookSubscription", "s").await.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_leaves_its_last_good_content_in_force() {
    let receiver = Receiver::start().await;
    let mut product = Product::new();
    product.write("bad-from-the-start.yaml", "a: [1\n");
    product.write("sub.yaml", &subscription("s", &receiver.url("/"), "events: ['*']"));
    product.start().await;
    product.served("s").await;
    let reported = files(&product, "one file", |files| files.len() == 1).await;
    assert_eq!(reported[0]["path"], "bad-from-the-start.yaml");
    assert!(reported[0]["error"].as_str().unwrap().starts_with("this file is not YAML: line "));

    product.write("sub.yaml", "kind: [half\n");
    let reported = files(&product, "two files", |files| files.len() == 2).await;
    assert_eq!(reported[1]["path"], "sub.yaml");
    assert!(reported[1]["error"].as_str().unwrap().ends_with("; its last good content stays in force"));
    product.accept(&[envelope("still", "chat.created")]).await;
    product.counter("s", "delivered", 1).await;

    product.remove("bad-from-the-start.yaml");
    product.write("sub.yaml", &subscription("s", &receiver.url("/"), "events: ['*']"));
    assert_eq!(files(&product, "no file", <[Value]>::is_empty).await, Vec::<Value>::new());
    generation(&product, "s", 1).await;
}

#[tokio::test]
async fn an_object_that_is_not_right_is_paused_and_nothing_else_is_touched() {
    let receiver = Receiver::start().await;
    let mut product = Product::new();
    product.write("good.yaml", &subscription("good", &receiver.url("/good"), "events: ['*']"));
    product.write("bad.yaml", &subscription("bad", &receiver.url("/bad"), "event: ['*']"));
    product.start().await;
    product.served("good").await;
    let condition = product.condition("WebhookSubscription", "bad", "Accepted", "False").await;
    assert_eq!(condition["reason"], "Invalid");
    assert!(condition["message"].as_str().unwrap().contains("did you mean `events`?"), "{condition}");
    for (kind, status) in [("Programmed", "False"), ("Ready", "False"), ("Stalled", "True")] {
        product.condition("WebhookSubscription", "bad", kind, status).await;
    }
    product.accept(&[envelope("a", "chat.created")]).await;
    product.counter("good", "delivered", 1).await;

    let good = product.object("WebhookSubscription", "good").await.unwrap();
    let types: Vec<&str> =
        good["conditions"].as_array().unwrap().iter().map(|c| c["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["Accepted", "ResolvedRefs", "Programmed", "Ready", "Delivering"]);
    for (counter, value) in [
        ("matched", 1),
        ("delivered", 1),
        ("pending", 0),
        ("attempts", 1),
        ("failedAttempts", 0),
        ("deadLettered", 0),
        ("expired", 0),
        ("filterErrors", 0),
    ] {
        assert_eq!(good["counters"][counter], value, "{counter}");
    }
    let instance = product.object("ChatInstance", "chat").await.unwrap();
    let types: Vec<&str> =
        instance["conditions"].as_array().unwrap().iter().map(|c| c["type"].as_str().unwrap()).collect();
    assert_eq!(
        types,
        [
            "Accepted",
            "ResolvedRefs",
            "Programmed",
            "Ready",
            "Reachable",
            "IntakeReady",
            "DispatcherAvailable"
        ]
    );
}

#[tokio::test]
async fn secrets_that_nobody_named_are_made_once_and_never_printed() {
    let receiver = Receiver::start().await;
    let mut product = Product::new();
    for file in ["instance.yaml", "secrets.yaml"] {
        product.remove(file);
    }
    product.write("made.yaml", GENERATED);
    let sub = subscription("s", &receiver.url("/"), "events: ['*']");
    let sub: Vec<&str> = sub.lines().filter(|line| !line.contains("signing:")).collect();
    product.write("sub.yaml", &sub.join("\n").replace("name: chat", "name: made"));
    product.start().await;
    product.served("s").await;

    let token_path = product.data.path().join("secrets/ai/made-intake/token");
    let signing_path = product.data.path().join("secrets/ai/s-signing/signing-secret");
    let mode = std::fs::metadata(&token_path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let token = std::fs::read_to_string(&token_path).unwrap();
    let signing = std::fs::read_to_string(&signing_path).unwrap();
    let answer = product
        .http
        .post(format!("http://{}/v1/events", product.intake))
        .bearer_auth(&token)
        .header("content-type", "application/json")
        .body(envelope("a", "chat.created").to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 202);
    product.counter("s", "delivered", 1).await;
    let received = &receiver.received()[0];
    standardwebhooks::Webhook::new(&signing)
        .unwrap()
        .verify(&received.body, &received.headers)
        .expect("the made secret signs");
    assert!(product.log().contains(token_path.parent().unwrap().to_str().unwrap()), "its place is printed");

    assert_eq!(product.terminate().await, Some(0));
    product.start().await;
    assert_eq!(std::fs::read_to_string(&token_path).unwrap(), token, "made once");
    assert!(!product.log().contains(&token) && !product.log().contains(&signing), "never printed");
}

#[tokio::test]
async fn a_mounted_config_map_and_mounted_secrets_are_followed() {
    let receiver = Receiver::start().await;
    let mut product = Product::new();
    let mounted = product.folder.path().join("mounted");
    let version = |name: &str, path: &str| {
        let folder = mounted.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("sub.yaml"), subscription("s", &receiver.url(path), "events: ['*']"))
            .unwrap();
    };
    version("..2026_1", "/one");
    symlink("..2026_1", mounted.join("..data")).unwrap();
    symlink("..data/sub.yaml", mounted.join("sub.yaml")).unwrap();
    product.remove("secrets.yaml");
    let secrets = tempfile::tempdir().unwrap();
    for (name, key, value) in [
        ("intake", "token", "it-token\n"),
        ("signing", "current", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="),
    ] {
        let folder = secrets.path().join("ai").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(key), value).unwrap();
    }
    product.start_by(&["--secrets-dir", secrets.path().to_str().unwrap()]).await;
    product.served("s").await;

    version("..2026_2", "/two");
    symlink("..2026_2", mounted.join("..tmp")).unwrap();
    std::fs::rename(mounted.join("..tmp"), mounted.join("..data")).unwrap();
    generation(&product, "s", 2).await;
    product.served("s").await;
    product.accept(&[envelope("a", "chat.created")]).await;
    product.counter("s", "delivered", 1).await;
    assert_eq!(receiver.received()[0].path, "/two");
}

#[tokio::test]
async fn several_instances_have_paths_of_their_own() {
    let mut product = Product::new();
    product.write("made.yaml", GENERATED);
    product.start().await;
    let event = envelope("a", "chat.created");
    let (status, answer) = product.post(&event).await.unwrap();
    assert_eq!(status, 404, "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("/v1/instances/ai/chat/events"), "{answer}");
    let (status, _) = product.post_to("/v1/instances/ai/chat/events", &event).await.unwrap();
    assert_eq!(status, 202);
    let log = product.log();
    assert!(log.contains("/v1/instances/ai/made/events   for ChatInstance ai/made"), "{log}");
}

#[tokio::test]
async fn a_mistake_is_told_to_keep_what_is_absent() {
    let receiver = Receiver::start().await;
    let mut product = Product::new();
    product.write("sub.yaml", &subscription("s", &receiver.url("/"), "events: ['*']"));
    product.start().await;
    let kept = "its events are kept until the mistakes are corrected";
    assert!(!product.log().contains(kept));
    let misspelt =
        subscription("s", &receiver.url("/"), "events: ['*']").replace("Subscription", "Subscripton");
    product.write("sub.yaml", &misspelt);
    eventually("the log tells", async || product.log().contains(kept).then_some(())).await;
}

#[tokio::test]
async fn every_metric_is_in_the_reference() {
    let receiver = Receiver::start().await;
    let mut product = Product::new();
    product.write("sub.yaml", &subscription("s", &receiver.url("/"), "events: ['*']"));
    product.start().await;
    product.served("s").await;
    product.accept(&[envelope("one", "chat.created")]).await;
    product.counter("s", "delivered", 1).await;
    let metrics = product.http.get(format!("http://{}/metrics", product.admin)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let reference =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference.md")).unwrap();
    let types: Vec<&str> = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert!(types.len() >= 25, "only {types:?}");
    for line in types {
        let (name, kind) = line.split_once(' ').unwrap();
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        assert!(reference.contains(&format!("| `{name}{suffix}` |")), "{line}");
    }
}
