//! `login`, with docker-registry and with fake registries.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::fake_registry::{FakeRegistry, Received, Reply};
use crate::support::registry_server::{Auth, PASSWORD, RegistryServer, USERNAME};
use crate::support::requirement::has_tools;
use crate::support::sandbox::{Invocation, Sandbox};

/// Starts a registry that requires `auth` and holds one image, `lab/tool:1`.
fn guarded(auth: Auth) -> Option<(RegistryServer, RegistryServer)> {
    if !has_tools(&["docker-registry", "htpasswd"]) {
        return None;
    }
    let open = RegistryServer::plain();
    open.push_image("lab/tool", "1", &[0; 1024]);
    let guarded = open.sibling(auth, false);
    Some((open, guarded))
}

fn keystore(sandbox: &Sandbox) -> Option<Value> {
    let bytes = fs::read(sandbox.store().join("keystore")).ok()?;
    Some(serde_json::from_slice(&bytes).unwrap())
}

fn login(sandbox: &Sandbox, url: &str, password: &str) -> Invocation {
    sandbox.udocker([
        "login",
        &format!("--registry={url}"),
        &format!("--username={USERNAME}"),
        &format!("--password={password}"),
    ])
}

#[test]
fn the_registry_may_be_an_argument_as_in_docker() {
    let Some((_open, server)) = guarded(Auth::Basic) else {
        return;
    };
    let sandbox = Sandbox::new();
    let url = server.url();
    let login = ["login", "--username", USERNAME, "--password", PASSWORD];
    let with = |registry: &[&str]| sandbox.udocker(login.iter().chain(registry)).run();
    with(&["--registry=quay.io", &url]).exits_with(2);
    assert_eq!(keystore(&sandbox), None);
    with(&[&url]).succeeds();
    assert!(keystore(&sandbox).unwrap().get(&url).is_some());
}

#[test]
fn accepted_login_is_stored_and_used() {
    for auth in [Auth::Basic, Auth::Token] {
        let Some((_open, server)) = guarded(auth) else {
            return;
        };
        let sandbox = Sandbox::new();
        let image = format!("{}/lab/tool:1", server.url());
        sandbox.udocker(["pull", &image]).run().exits_with(1);
        login(&sandbox, &server.url(), PASSWORD)
            .run()
            .succeeds()
            .prints("");
        let expected = STANDARD.encode(format!("{USERNAME}:{PASSWORD}"));
        assert_eq!(
            keystore(&sandbox),
            Some(json!({server.url(): {"auth": expected, "email": ""}}))
        );
        let mode = fs::metadata(sandbox.store().join("keystore")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        sandbox.udocker(["pull", &image]).run().succeeds();

        let logout = format!("--registry={}", server.url());
        sandbox.udocker(["logout", &logout]).run().succeeds();
        assert_eq!(keystore(&sandbox), Some(json!({})));
        let again = sandbox.udocker(["logout", &logout]).run().exits_with(1);
        again.errs_in_one_line(&["no stored login for", &server.host()]);
    }
}

#[test]
fn rejected_login_is_not_stored() {
    for auth in [Auth::Basic, Auth::Token] {
        let Some((_open, server)) = guarded(auth) else {
            return;
        };
        let sandbox = Sandbox::new();
        let ran = login(&sandbox, &server.url(), "radium").run().exits_with(1);
        assert!(!ran.stderr.contains("radium"), "{ran:#?}");
        ran.errs_in_one_line(&["rejects the user name or password"]);
        assert_eq!(keystore(&sandbox), None);
    }
}

#[test]
fn unchecked_login_is_stored_with_a_warning() {
    let sandbox = Sandbox::new();
    let url = "http://127.0.0.1:1";
    let ran = login(&sandbox, url, PASSWORD).run().succeeds().prints("");
    assert!(
        ran.stderr
            .starts_with("Warning: the login is stored unchecked: cannot reach"),
        "{ran:#?}"
    );
    assert!(keystore(&sandbox).unwrap().get(url).is_some());

    if !has_tools(&["docker-registry"]) {
        return;
    }
    let open = RegistryServer::plain();
    let ran = login(&sandbox, &open.url(), PASSWORD).run().succeeds();
    assert!(ran.stderr.contains("asks for no login"), "{ran:#?}");
    assert_eq!(keystore(&sandbox).unwrap().as_object().unwrap().len(), 2);
    sandbox.udocker(["logout", "-a"]).run().succeeds();
    assert_eq!(keystore(&sandbox), None);
}

/// A registry that answers a login with an error, or something that is no registry.
#[test]
fn a_login_that_was_not_accepted_is_not_stored() {
    let basic = |request: &Received, reply: Reply| match request.header("authorization") {
        Some(_) => reply,
        None => Reply::new(401, "").header("WWW-Authenticate", "Basic realm=\"r\""),
    };
    let bearer = |realm: String| {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
        Reply::new(401, "").header("WWW-Authenticate", challenge)
    };
    let tokens = FakeRegistry::start(|_| Reply::new(400, r#"{"error":"invalid_grant"}"#));
    let realm = tokens.url();
    for (registry, said) in [
        (
            FakeRegistry::start(move |request| {
                let expired = r#"{"errors":[{"code":"DENIED","message":"it has expired"}]}"#;
                basic(request, Reply::new(400, expired))
            }),
            "answered with status 400: it has expired (DENIED)",
        ),
        (
            FakeRegistry::start(|_| Reply::new(404, "no such page")),
            "does not have '/v2/'",
        ),
        (
            FakeRegistry::start(|_| Reply::new(200, "<html>Hello</html>")),
            "did not answer like a registry: a web page",
        ),
        (
            FakeRegistry::start(move |_| bearer("/service/token".to_string())),
            "the token server '/service/token'",
        ),
        (
            FakeRegistry::start(move |_| bearer(realm.clone())),
            "answered with status 400: invalid_grant",
        ),
    ] {
        let sandbox = Sandbox::new();
        let ran = login(&sandbox, &registry.url(), PASSWORD).run();
        ran.exits_with(1)
            .errs_in_one_line(&[said, "the login is not stored"]);
        assert_eq!(keystore(&sandbox), None, "{said}");
    }
    let sandbox = Sandbox::new();
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let https = format!("https://{}", plain.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in plain.incoming() {
            let _ = stream
                .unwrap()
                .write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
        }
    });
    let ran = login(&sandbox, &https, PASSWORD).run().exits_with(1);
    ran.errs_in_one_line(&["write `http://` before its name"]);
    assert_eq!(keystore(&sandbox), None);
}

#[test]
fn a_login_is_stored_unchecked_if_the_registry_is_overloaded() {
    let sandbox = Sandbox::new();
    let registry = FakeRegistry::start(|_| Reply::new(429, "").header("Retry-After", 3600));
    let ran = login(&sandbox, &registry.url(), PASSWORD).run().succeeds();
    assert!(ran.stderr.contains("is stored unchecked"), "{ran:#?}");
    assert!(keystore(&sandbox).is_some());
}

/// The first line of standard input would be taken for the user name.
#[test]
fn a_password_from_standard_input_needs_a_user_name() {
    let sandbox = Sandbox::new();
    let login = sandbox.udocker(["login", "--registry=http://127.0.0.1:1", "--password-stdin"]);
    let ran = login.stdin("t0ken\n").run().exits_with(2);
    assert!(ran.stderr.contains("--username"), "{ran:#?}");
}

#[test]
fn login_prompts_on_stderr() {
    let sandbox = Sandbox::new();
    let registry = "--registry=http://127.0.0.1:1";
    let entry = |sandbox: &Sandbox| keystore(sandbox).unwrap()["http://127.0.0.1:1"].clone();
    let ran = sandbox
        .udocker(["login", registry])
        .stdin("ada\nENGINE\n")
        .run()
        .succeeds()
        .prints("");
    assert!(ran.stderr.starts_with("username: password: "), "{ran:#?}");
    assert!(ran.stderr.contains("is Caps Lock on?"), "{ran:#?}");
    let auth = |text: &str| json!({"auth": STANDARD.encode(text), "email": ""});
    assert_eq!(entry(&sandbox), auth("ada:ENGINE"));

    let ran = sandbox
        .udocker([
            "--quiet",
            "login",
            registry,
            "--username=ada",
            "--password-stdin",
        ])
        .stdin("with blanks \n")
        .run()
        .succeeds();
    assert_eq!(ran.stderr, "");
    assert_eq!(entry(&sandbox), auth("ada:with blanks "));

    for (stdin, part) in [("", "cannot read the password"), ("\n", "no password")] {
        sandbox
            .udocker(["login", registry, "--username=ada", "--password-stdin"])
            .stdin(stdin)
            .run()
            .exits_with(1)
            .errs_in_one_line(&[part]);
    }
    assert_eq!(entry(&sandbox), auth("ada:with blanks "));
}

/// Whatever the registry answers, with `--debug`.
#[test]
fn output_holds_no_credentials() {
    let answers: [fn(&Received) -> Reply; 7] = [
        |_| Reply::new(200, "no manifest"),
        |_| Reply::new(401, ""),
        |_| Reply::new(403, r#"{"errors": [{"code": "DENIED"}]}"#),
        |_| Reply::new(418, ""),
        |_| Reply::new(302, "").header("Location", "http://me:gone-by@127.0.0.1:1/?key=hidden"),
        |_| Reply::new(302, "").header("Location", "ftp://me:gone-by@127.0.0.1/?key=hidden"),
        |request| Reply::new(403, format!("{:?}", request.headers)),
    ];
    std::thread::scope(|scope| {
        for answer in answers {
            scope.spawn(move || all_that_is_said_where(answer));
        }
    });
    let sandbox = Sandbox::new();
    let text = "[DEFAULT]\nhttp_proxy = http://me:gone-by@proxy:3128\n";
    sandbox.write("home/.udocker/udocker.conf", text);
    let shown = sandbox.udocker(["showconf"]).run().succeeds();
    assert!(
        shown.stdout.contains("http_proxy = http://…@proxy:3128 "),
        "{shown:#?}"
    );
}

/// Logs in to and pulls from a registry that answers requests with a token with `answer`. Fails if
/// the output holds a secret.
fn all_that_is_said_where(answer: fn(&Received) -> Reply) {
    const SECRETS: [&str; 4] = [PASSWORD, "t0ken", "gone-by", "hidden"];
    let tokens = FakeRegistry::start(|_| Reply::new(200, r#"{"token": "t0ken"}"#));
    let challenge = format!("Bearer realm=\"{}/token?key=hidden\"", tokens.url());
    let registry = FakeRegistry::start(move |request| match request.header("authorization") {
        Some("Bearer t0ken") => answer(request),
        _ => Reply::new(401, "").header("WWW-Authenticate", &challenge),
    });
    let sandbox = Sandbox::new();
    sandbox.write("home/.udocker/udocker.conf", "[DEFAULT]\ntimeout = 2\n");
    let image = format!("{}/lab/tool:1", registry.url());
    let user = format!("--username={USERNAME}");
    let options = format!("--registry={}", registry.url());
    let login = ["--debug", "login", &options, &user, "--password-stdin"];
    let login = sandbox.udocker(login).stdin(format!("{PASSWORD}\n"));
    let pull = sandbox.udocker(["--debug", "pull", &image]);
    let proxied = sandbox.udocker(["--debug", "pull", &image]);
    let proxied = proxied.env("http_proxy", "http://me:gone-by@127.0.0.1:1");
    let doctor = sandbox.udocker(["doctor", "--net"]);
    let doctor = doctor.env("https_proxy", "http://me:gone-by@127.0.0.1:1");
    let encoded = STANDARD.encode(format!("{USERNAME}:{PASSWORD}"));
    for command in [login, pull, proxied, doctor] {
        let ran = command.run();
        let said = [ran.stdout.as_str(), &ran.stderr].concat();
        let told = SECRETS.iter().find(|secret| said.contains(**secret));
        assert_eq!(told, None, "{ran:#?}");
        assert!(!said.contains(&encoded), "{ran:#?}");
    }
}

/// The terminal that `script` makes echoes typed characters unless the program turns echo off.
#[test]
fn typed_password_is_not_echoed() {
    if !has_tools(&["script"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let command = "sleep 0.2; exec bin/udocker login --registry=http://127.0.0.1:1 --username=ada";
    let ran = sandbox
        .udocker([""; 0])
        .through(&[
            "sh",
            "-c",
            &format!("(sleep 1; echo engine; sleep 1) | script -qec '{command}' /dev/null"),
        ])
        .run();
    assert!(ran.stdout.contains("password: "), "{ran:#?}");
    assert!(!ran.stdout.contains("engine"), "{ran:#?}");
    assert!(
        keystore(&sandbox)
            .unwrap()
            .get("http://127.0.0.1:1")
            .is_some()
    );
}
