//! Hints after a failed `pull`.

use std::time::Duration;

use serde_json::json;

use super::bad_registries::Served;

use crate::support::fake_registry::{FakeRegistry, Reply};
use crate::support::registry_server::{Auth, RegistryServer};
use crate::support::requirement::has_tools;
use crate::support::sandbox::Sandbox;

#[test]
fn common_pull_failures_have_hints() {
    let digest = format!("sha256:{}", "1".repeat(64));
    let index = json!({"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
        {"digest": digest, "size": 1, "platform": {"os": "linux", "architecture": "s390x"}}]});
    for (reply, error, hint) in [
        (
            Reply::new(401, ""),
            "requires a login for 'lab/tool', or does not have it",
            "log in with `udocker login --registry=URL`",
        ),
        (
            Reply::new(403, r#"{"errors":[{"code":"DENIED"}]}"#),
            "requires a login for 'lab/tool', or does not have it: DENIED",
            "log in with `udocker login --registry=URL`",
        ),
        (
            Reply::new(429, "").header("Retry-After", 86_400),
            "refuses further requests for now",
            "wait, or log in with `udocker login`: limits are higher for users with a login",
        ),
        (
            Reply::new(404, ""),
            "has no '1' of 'lab/tool'",
            "list the tags it has with `udocker search --list-tags URL/lab/tool`",
        ),
        (
            Reply::new(200, index.to_string()),
            "has no image for linux/",
            "choose one of them with `--platform=OS/ARCH[/VARIANT]`",
        ),
    ] {
        let server = FakeRegistry::start(move |_| reply.clone());
        let image = format!("{}/lab/tool:1", server.url());
        let ran = Sandbox::new().udocker(["pull", &image]).run().exits_with(1);
        ran.errs_in_one_line(&[error]);
        let hint = format!("Hint: {}", hint.replace("URL", &server.url()));
        assert!(ran.stderr.lines().any(|line| line == hint), "{ran:#?}");
    }
}

#[test]
fn a_layer_that_does_not_come_in_time_has_a_hint() {
    let served = Served::new();
    let server = FakeRegistry::start(move |request| {
        if served.is_layer(request) {
            std::thread::sleep(Duration::from_secs(30));
        }
        served.reply(request)
    });
    let sandbox = Sandbox::new();
    let text = "[DEFAULT]\ndownload_timeout = 1\n";
    sandbox.write("home/.udocker/udocker.conf", text);
    let image = format!("{}/lab/tool:1", server.url());
    let ran = sandbox.udocker(["pull", &image]).run().exits_with(1);
    ran.errs_in_one_line(&["no answer within 1 seconds"]);
    assert!(
        ran.stderr.contains("`download_timeout = SECONDS`"),
        "{ran:#?}"
    );
}

/// It may come from a file of another program, which the user has forgotten.
#[test]
fn a_rejected_login_is_named_with_its_file() {
    let server = FakeRegistry::start(|_| {
        Reply::new(401, "").header("WWW-Authenticate", "Basic realm=\"r\"")
    });
    let sandbox = Sandbox::new();
    let config = json!({"auths": {server.host(): {"auth": "bWU6b2xk"}}});
    let file = sandbox.write("home/.docker/config.json", config.to_string());
    let image = format!("{}/lab/tool:1", server.url());
    let ran = sandbox.udocker(["pull", &image]).run().exits_with(1);
    let said = format!(
        "rejects the user name or password from '{}'",
        file.display()
    );
    ran.errs_in_one_line(&[&said, "log in with `udocker login "]);
}

#[test]
fn failures_of_a_proxy_are_not_blamed_on_the_registry() {
    let proxy = FakeRegistry::start(|_| Reply::new(407, "").header("Proxy-Authenticate", "NTLM"));
    let address = proxy.url().replace("://", "://me:gone-by@");
    for (address, image, said) in [
        (
            address.as_str(),
            "http://h.invalid/lab/tool",
            "the proxy requires a login",
        ),
        (&address, "h.invalid/lab/tool", "the proxy requires a login"),
        (
            "http://me:gone-by@127.0.0.1:1",
            "h.invalid/lab/tool",
            "refused",
        ),
    ] {
        let proxy = format!("--httpproxy={address}");
        let ran = Sandbox::new().udocker(["pull", &proxy, image]).run();
        let through = format!("through the proxy '{}'", address.replace("me:gone-by", "…"));
        let ran = ran.exits_with(1);
        ran.errs_in_one_line(&[&through, said, "`--httpproxy=URL`", "no_proxy"]);
        assert!(!ran.stderr.contains("gone-by"), "{ran:#?}");
    }
}

#[test]
fn untrusted_authority_has_a_hint() {
    if !has_tools(&["docker-registry"]) {
        return;
    }
    let server = RegistryServer::plain().sibling(Auth::None, true);
    let image = server.reference("lab/tool:1");
    let ran = Sandbox::new().udocker(["pull", &image]).run().exits_with(1);
    ran.errs_in_one_line(&["UnknownIssuer", "SSL_CERT_FILE", "`--insecure`"]);
}

#[test]
fn platform_of_the_index_entry_counts() {
    if !has_tools(&["docker-registry"]) {
        return;
    }
    let server = RegistryServer::plain();
    let (digest, size) = server.push_image("lab/tool", "1", &[0; 1024]);
    let index = "application/vnd.oci.image.index.v1+json";
    let entry = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest,
        "size": size, "platform": {"os": "linux", "architecture": "s390x"}});
    let index = json!({"schemaVersion": 2, "mediaType": index, "manifests": [entry]});
    server.push_manifest("lab/tool", "2", &index);
    let pull = |tag: &str| {
        let image = format!("{}/lab/tool:{tag}", server.url());
        let sandbox = Sandbox::new();
        sandbox
            .udocker(["pull", "--platform=linux/s390x", &image])
            .run()
    };
    // The configuration of the image says amd64.
    pull("2").succeeds();
    let ran = pull("1").exits_with(1);
    ran.errs_in_one_line(&["is for linux/amd64", "`--platform=linux/amd64`"]);
}
