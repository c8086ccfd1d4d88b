//! The charts: what helm makes of them is what the code says, and what a restricted cluster takes.

use chathooks::api::crds;
use chathooks::controller::rbac;
use serde_json::{Value, json};

use crate::support::chart::{KUBE_VERSION, folder, helm, objects, of_kind, rendered, template};

fn only<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    match of_kind(objects, kind)[..] {
        [object] => object,
        ref several => panic!("{} objects of kind {kind}", several.len()),
    }
}

fn rules(rules: Vec<k8s_openapi::api::rbac::v1::PolicyRule>) -> Value {
    serde_json::to_value(rules).unwrap()
}

#[test]
fn helm_finds_nothing_to_complain_about() {
    for chart in ["chathooks", "chathooks-crds"] {
        let output = helm(&["lint", "--strict", folder(chart).to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn the_charts_have_the_version_of_the_crate() {
    for chart in ["chathooks", "chathooks-crds"] {
        let text = std::fs::read_to_string(folder(chart).join("Chart.yaml")).unwrap();
        let chart = &chathooks::yaml::documents(&text).unwrap()[0].value;
        assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
        assert_eq!(chart["kubeVersion"], ">=1.33.0-0");
    }
}

#[test]
fn the_roles_are_the_list_in_the_code() {
    let objects = rendered("ops", &[]);
    assert_eq!(only(&objects, "ClusterRole")["rules"], rules(rbac::cluster_rules()));
    assert_eq!(only(&objects, "Role")["rules"], rules(rbac::namespace_rules()));
    assert_eq!(only(&objects, "Role")["metadata"]["namespace"], "ops");
    for (binding, role) in [("ClusterRoleBinding", "ClusterRole"), ("RoleBinding", "Role")] {
        let binding = only(&objects, binding);
        assert_eq!(binding["roleRef"]["name"], only(&objects, role)["metadata"]["name"]);
        let subject = json!([{ "kind": "ServiceAccount", "name": "chathooks-operator", "namespace": "ops" }]);
        assert_eq!(binding["subjects"], subject);
    }
    assert_eq!(only(&objects, "ServiceAccount")["metadata"]["name"], "chathooks-operator");
}

#[test]
fn with_named_namespaces_the_rights_end_there() {
    let objects = rendered("ops", &[r#"watchNamespaces=["ai","web"]"#]);
    assert_eq!(only(&objects, "ClusterRole")["rules"], rules(rbac::unscoped_rules()));
    let granted: Vec<(&Value, &Value)> = of_kind(&objects, "Role")
        .into_iter()
        .map(|role| (&role["metadata"]["namespace"], &role["rules"]))
        .collect();
    let (watched, own) = (rules(rbac::watched_rules()), rules(rbac::namespace_rules()));
    assert_eq!(granted, [(&json!("ai"), &watched), (&json!("web"), &watched), (&json!("ops"), &own)]);
    assert_eq!(of_kind(&objects, "RoleBinding").len(), 3);
    let arguments = &only(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"];
    for namespace in ["ai", "web"] {
        assert!(arguments.as_array().unwrap().contains(&json!(format!("--watch-namespace={namespace}"))));
    }
}

#[test]
fn the_pod_is_what_the_restricted_profile_takes() {
    let objects = rendered("ops", &[]);
    let deployment = only(&objects, "Deployment");
    assert_eq!(deployment["spec"]["replicas"], 2);
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(
        pod["securityContext"],
        json!({
            "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
            "seccompProfile": { "type": "RuntimeDefault" }
        })
    );
    let container = &pod["containers"][0];
    assert_eq!(
        container["securityContext"],
        json!({
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] }
        })
    );
    assert_eq!(container["livenessProbe"]["httpGet"], json!({ "path": "/livez", "port": "admin" }));
    assert_eq!(container["readinessProbe"]["httpGet"], json!({ "path": "/readyz", "port": "admin" }));
    assert_eq!(container["ports"][0]["containerPort"], 9090);
    assert_eq!(
        container["args"],
        json!([
            "operator",
            "--admin-listen=0.0.0.0:9090",
            "--lease-name=chathooks-operator",
            "--log-level=info"
        ])
    );
    let image = concat!("ghcr.io/chathooks/chathooks:", env!("CARGO_PKG_VERSION"));
    assert_eq!(container["image"], image);
    let field = |path: &str| json!({ "fieldRef": { "fieldPath": path } });
    assert_eq!(
        container["env"],
        json!([
            { "name": "POD_NAME", "valueFrom": field("metadata.name") },
            { "name": "POD_NAMESPACE", "valueFrom": field("metadata.namespace") },
            { "name": "CHATHOOKS_IMAGE", "value": image }
        ])
    );
}

#[test]
fn what_selects_the_operator_selects_no_dispatcher() {
    let objects = rendered("ops", &[r#"podLabels={"team":"chat","app.kubernetes.io/name":"other"}"#]);
    let deployment = only(&objects, "Deployment");
    let selector = &deployment["spec"]["selector"]["matchLabels"];
    assert_eq!(selector["app.kubernetes.io/component"], "operator");
    assert_eq!(&only(&objects, "Service")["spec"]["selector"], selector);
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    for (key, value) in selector.as_object().unwrap() {
        assert_eq!(&labels[key], value);
    }
    assert_eq!(labels["team"], "chat");
}

#[test]
fn every_value_arrives() {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let objects = rendered(
        "ops",
        &[
            "replicaCount=1",
            &format!(
                r#"image={{"repository":"registry.example:5000/mirror/chathooks","digest":"{digest}"}}"#
            ),
            r#"imagePullSecrets=[{"name":"pull"}]"#,
            r#"fullnameOverride="hooks""#,
            r#"logLevel="debug""#,
            r#"serviceAccount={"annotations":{"a":"b"}}"#,
            r#"podAnnotations={"c":"d"}"#,
            r#"nodeSelector={"disk":"fast"}"#,
            r#"tolerations=[{"key":"k","operator":"Exists"}]"#,
            r#"affinity={"podAntiAffinity":{}}"#,
            r#"topologySpreadConstraints=[{"maxSkew":1}]"#,
            r#"priorityClassName="high""#,
        ],
    );
    let deployment = only(&objects, "Deployment");
    assert_eq!(
        (&deployment["spec"]["replicas"], &deployment["metadata"]["name"]),
        (&json!(1), &json!("hooks"))
    );
    let template = &deployment["spec"]["template"];
    assert_eq!(template["metadata"]["annotations"], json!({ "c": "d" }));
    let pod = &template["spec"];
    let container = &pod["containers"][0];
    let image = format!("registry.example:5000/mirror/chathooks@{digest}");
    assert_eq!((&container["image"], &container["env"][2]["value"]), (&json!(image), &json!(image)));
    assert!(container["args"].as_array().unwrap().contains(&json!("--log-level=debug")));
    assert_eq!(pod["serviceAccountName"], "hooks");
    assert_eq!(pod["imagePullSecrets"], json!([{ "name": "pull" }]));
    assert_eq!(pod["nodeSelector"], json!({ "disk": "fast" }));
    assert_eq!(pod["tolerations"], json!([{ "key": "k", "operator": "Exists" }]));
    assert_eq!(pod["affinity"], json!({ "podAntiAffinity": {} }));
    assert_eq!(pod["topologySpreadConstraints"], json!([{ "maxSkew": 1 }]));
    assert_eq!(pod["priorityClassName"], "high");
    assert_eq!(only(&objects, "ServiceAccount")["metadata"]["annotations"], json!({ "a": "b" }));
    let none = rendered("ops", &[r#"serviceAccount={"create":false,"name":"theirs"}"#]);
    assert!(of_kind(&none, "ServiceAccount").is_empty());
    assert_eq!(only(&none, "ClusterRoleBinding")["subjects"][0]["name"], "theirs");
}

#[test]
fn bad_values_are_refused_and_named() {
    for (value, complaint) in [
        (r#"replicaCount="many""#, "at '/replicaCount': got string, want integer"),
        ("replicaCount=-1", "at '/replicaCount': minimum: got -1, want 0"),
        ("replicas=3", "at '': additional properties 'replicas' not allowed"),
        (r#"image={"tagg":"1"}"#, "at '/image': additional properties 'tagg' not allowed"),
        (r#"image={"digest":"abc"}"#, "at '/image/digest': 'abc' does not match pattern"),
        (r#"image={"pullPolicy":"Sometimes"}"#, "at '/image/pullPolicy': value must be one of 'Always',"),
        (r#"watchNamespaces="ai""#, "at '/watchNamespaces': got string, want array"),
        (r#"watchNamespaces=["A_b"]"#, "at '/watchNamespaces/0': 'A_b' does not match pattern"),
        (
            r#"serviceAccount={"create":false}"#,
            "serviceAccount.create is false: set serviceAccount.name to the ServiceAccount that the operator is to use",
        ),
    ] {
        let output = template("chathooks", "ops", &[value]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(complaint), "{value}: {error}");
    }
}

#[test]
fn every_value_is_explained_and_in_the_schema() {
    let text = std::fs::read_to_string(folder("chathooks").join("values.yaml")).unwrap();
    let values = chathooks::yaml::documents(&text).unwrap().remove(0).value;
    let schema = std::fs::read_to_string(folder("chathooks").join("values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let mut known: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    known.retain(|key| *key != "global");
    let mut written: Vec<&String> = values.as_object().unwrap().keys().collect();
    known.sort();
    written.sort();
    assert_eq!(written, known);
    for key in written.into_iter().filter(|key| !["image", "serviceAccount"].contains(&key.as_str())) {
        let explained = text.contains(&format!("\n{key}:")) || text.starts_with(&format!("{key}:"));
        let line = text.lines().position(|line| line.starts_with(&format!("{key}:"))).unwrap();
        let above = text.lines().nth(line - 1).unwrap();
        assert!(explained && above.starts_with("# -- "), "{key} is not explained");
    }
}

#[test]
fn the_definitions_are_those_of_the_code_and_stay_when_uninstalled() {
    let mut rendered = objects(template("chathooks-crds", "ops", &[]));
    for object in &mut rendered {
        let annotations = object["metadata"].as_object_mut().unwrap().remove("annotations").unwrap();
        assert_eq!(annotations, json!({ "helm.sh/resource-policy": "keep" }));
    }
    rendered.sort_by_key(|object| object["metadata"]["name"].as_str().unwrap().to_owned());
    let expected: Vec<Value> = crds::all()
        .iter()
        .map(|crd| serde_json::from_str(&serde_json::to_string(crd).unwrap()).unwrap())
        .collect();
    assert_eq!(rendered, expected);
}

#[test]
fn the_notes_say_the_next_step() {
    // helm shows notes only after an installation; here they are rendered as one more file of a copy.
    let copy = tempfile::tempdir().unwrap();
    let chart = copy.path().join("chathooks");
    for part in ["files", "templates"] {
        std::fs::create_dir_all(chart.join(part)).unwrap();
    }
    for part in ["Chart.yaml", "values.yaml", "templates/_helpers.tpl"] {
        std::fs::copy(folder("chathooks").join(part), chart.join(part)).unwrap();
    }
    std::fs::copy(folder("chathooks").join("templates/NOTES.txt"), chart.join("files/notes")).unwrap();
    let template = r#"notes: {{ tpl (.Files.Get "files/notes") . | toJson }}"#;
    std::fs::write(chart.join("templates/notes.yaml"), template).unwrap();

    let notes = |more: &[&str]| {
        let arguments = ["template", "chathooks", chart.to_str().unwrap(), "--namespace", "ops"];
        let output = helm(&[&arguments[..], &["--kube-version", KUBE_VERSION], more].concat());
        objects(output)[0]["notes"].as_str().unwrap().to_owned()
    };
    let fresh = notes(&[]);
    for part in [
        "is starting in ops and watches every namespace.",
        "kubectl --namespace ops rollout status deployment/chathooks-operator",
        "helm install chathooks-crds",
        "kubectl get chathooks",
    ] {
        assert!(fresh.contains(part), "{part} is missing in\n{fresh}");
    }
    let known =
        notes(&["--api-versions", "chathooks.dev/v1alpha1", "--set-json", r#"watchNamespaces=["ai","web"]"#]);
    assert!(known.contains("watches ai, web."), "{known}");
    assert!(!known.contains("chathooks-crds"), "{known}");
}
