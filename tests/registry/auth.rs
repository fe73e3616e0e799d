//! Authentication challenges, tokens and credentials.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use url::form_urlencoded;

use udocker::oci::{Credential, Secret, TagOrDigest};
use udocker::registry::{Client, LoginCheck, RegistryError};

use super::client::{anonymous, descriptor, fetch, options, registry, with_credential, with_login};
use crate::support::fake_registry::{FakeRegistry, Received, Reply};

const BLOB: &[u8] = b"some bytes";

/// A registry that accepts one of the tokens `accepted`, and names `realm` in its challenge.
fn guarded(
    realm: String,
    service: Option<&'static str>,
    accepted: &'static [&str],
) -> FakeRegistry {
    FakeRegistry::start(move |request| {
        let token = request
            .header("authorization")
            .and_then(|header| header.strip_prefix("Bearer "));
        if token.is_some_and(|token| accepted.contains(&token)) {
            return Reply::new(200, BLOB);
        }
        let service = service.map_or(String::new(), |service| format!(",service=\"{service}\""));
        let challenge =
            format!("Bearer realm=\"{realm}\"{service},scope=\"repository:lab/tool:pull,push\"");
        Reply::new(401, "").header("WWW-Authenticate", challenge)
    })
}

#[test]
fn one_token_serves_concurrent_requests() {
    let tokens = FakeRegistry::start(|_| Reply::new(200, r#"{"token":"t1","expires_in":300}"#));
    let server = guarded(
        format!("{}/token", tokens.url()),
        Some("s, with comma"),
        &["t1"],
    );
    let client = anonymous();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| fetch(&client, &server.url(), &descriptor(BLOB), b"").unwrap());
        }
    });
    assert_eq!(
        tokens.log(),
        [
            "GET /token?service=s%2C+with+comma&scope=repository%3Alab%2Ftool%3Apull%2Cpush&client_id=udocker"
        ]
    );
    assert_eq!(tokens.requests()[0].header("authorization"), None);
}

#[test]
fn token_answers_may_lack_service_and_use_access_token() {
    let tokens = FakeRegistry::start(|_| Reply::new(200, r#"{"access_token":"t1"}"#));
    let server = guarded(format!("{}/t?x=1", tokens.url()), None, &["t1"]);
    fetch(
        &with_login("marie", "curie"),
        &server.url(),
        &descriptor(BLOB),
        b"",
    )
    .unwrap();
    let request = tokens.requests().pop().unwrap();
    assert_eq!(
        request.target,
        "/t?x=1&scope=repository%3Alab%2Ftool%3Apull%2Cpush&client_id=udocker&account=marie"
    );
    assert_eq!(
        request.header("authorization"),
        Some("Basic bWFyaWU6Y3VyaWU=")
    );
}

#[test]
fn rejected_token_is_renewed() {
    let count = AtomicUsize::new(0);
    let tokens = FakeRegistry::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        Reply::new(200, format!(r#"{{"token":"t{number}"}}"#))
    });
    let stale = Mutex::new(false);
    let realm = tokens.url();
    let server = FakeRegistry::start(move |request| {
        let mut stale = stale.lock().unwrap();
        let accepted = if *stale { "Bearer t1" } else { "Bearer t0" };
        if request.header("authorization") == Some(accepted) {
            *stale = true;
            return Reply::new(200, BLOB);
        }
        Reply::new(401, "").header("WWW-Authenticate", format!("Bearer realm=\"{realm}\""))
    });
    let client = anonymous();
    fetch(&client, &server.url(), &descriptor(BLOB), b"").unwrap();
    fetch(&client, &server.url(), &descriptor(BLOB), b"").unwrap();
    assert_eq!(tokens.requests().len(), 2);
    // Where the challenge names no scope, the client asks for the right to pull from the
    // repository.
    assert_eq!(
        tokens.log()[0],
        "GET /?scope=repository%3Alab%2Ftool%3Apull&client_id=udocker"
    );
}

#[test]
fn token_issued_in_the_past_is_used() {
    let tokens = FakeRegistry::start(|_| {
        let body = r#"{"token":"t1","expires_in":60,"issued_at":"2020-01-01T00:00:00Z"}"#;
        Reply::new(200, body).header("Date", "Fri, 01 Mar 2024 00:00:00 GMT")
    });
    let server = guarded(format!("{}/token", tokens.url()), None, &["t1"]);
    fetch(&anonymous(), &server.url(), &descriptor(BLOB), b"").unwrap();
    assert_eq!(tokens.requests().len(), 1);
}

fn identity_token_requests(answer: fn(&Received) -> Reply) -> Vec<Received> {
    let tokens = FakeRegistry::start(answer);
    let server = guarded(format!("{}/token", tokens.url()), Some("svc"), &["t1"]);
    let credential = Credential::IdentityToken(Secret::new("refresh me"));
    let client = with_credential(options(), credential);
    fetch(&client, &server.url(), &descriptor(BLOB), b"").unwrap();
    tokens.requests()
}

#[test]
fn identity_token_is_posted_as_a_refresh_token() {
    let requests = identity_token_requests(|_| Reply::new(200, r#"{"access_token":"t1"}"#));
    let [request] = requests.as_slice() else {
        panic!("{requests:?}")
    };
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/token")
    );
    assert_eq!(
        String::from_utf8_lossy(&request.body),
        "grant_type=refresh_token&service=svc&client_id=udocker&refresh_token=refresh+me\
         &scope=repository%3Alab%2Ftool%3Apull%2Cpush"
    );
}

#[test]
fn identity_token_is_sent_to_its_own_server_only() {
    let requests = identity_token_requests(|request| match request.path() {
        "/token" => Reply::new(308, "").header("Location", "/v2/token"),
        _ => Reply::new(200, r#"{"token":"t1"}"#),
    });
    let [first, second] = requests.as_slice() else {
        panic!("{requests:?}")
    };
    assert_eq!((&first.method, &first.body), (&second.method, &second.body));

    let elsewhere = FakeRegistry::start(|_| Reply::new(200, r#"{"token":"t1"}"#));
    let away = elsewhere.url();
    let tokens = FakeRegistry::start(move |_| Reply::new(307, "").header("Location", &away));
    let server = guarded(tokens.url(), None, &["t1"]);
    let client = with_credential(
        options(),
        Credential::IdentityToken(Secret::new("refresh me")),
    );
    let error = fetch(&client, &server.url(), &descriptor(BLOB), b"").unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("send a login to another server"),
        "{error}"
    );
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn expired_identity_token_is_reported_as_bad_credentials() {
    let tokens = FakeRegistry::start(|_| Reply::new(400, r#"{"error":"invalid_grant"}"#));
    let server = guarded(tokens.url(), None, &["t1"]);
    let client = with_credential(options(), Credential::IdentityToken(Secret::new("old one")));
    let error = fetch(&client, &server.url(), &descriptor(BLOB), b"").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "'{}' rejects the user name or password from a test: invalid_grant",
            server.url()
        )
    );
}

#[test]
fn token_server_without_oauth2_is_asked_by_get() {
    let requests = identity_token_requests(|request| match request.method.as_str() {
        "POST" => Reply::new(405, ""),
        _ => Reply::new(200, r#"{"token":"t1"}"#),
    });
    let methods: Vec<&str> = requests.iter().map(|r| r.method.as_str()).collect();
    assert_eq!(methods, ["POST", "GET"]);
    assert_eq!(
        requests[1].header("authorization"),
        Some("Basic OnJlZnJlc2ggbWU=")
    );
}

#[test]
fn authentication_failures_are_distinguished() {
    for (token_reply, has_login, expected) in [
        (
            Reply::new(401, r#"{"details":"incorrect username or password"}"#),
            true,
            "'URL' rejects the user name or password from a test: incorrect username or password",
        ),
        (
            Reply::new(401, ""),
            false,
            "'URL' requires a login for 'lab/tool', or does not have it",
        ),
        (
            Reply::new(403, r#"{"errors":[{"code":"DENIED"}]}"#),
            false,
            "'URL' requires a login for 'lab/tool', or does not have it: DENIED",
        ),
        (
            Reply::new(400, "no such scope"),
            true,
            "'REALM/token?…' answered with status 400: no such scope",
        ),
        (
            Reply::new(403, "suspended"),
            true,
            "'URL' denies access to 'repository:lab/tool:pull,push': suspended",
        ),
        (
            Reply::new(200, r#"{"token":"without rights"}"#),
            true,
            "the token server 'REALM/token?…' sent no token: the token holds impossible characters",
        ),
        (
            Reply::new(200, r#"{"token":"powerless"}"#),
            true,
            "'URL' denies access to 'lab/tool'",
        ),
        (
            Reply::new(200, r#"{"token":"powerless"}"#),
            false,
            "'URL' requires a login for 'lab/tool', or does not have it",
        ),
        (
            Reply::new(200, "<html>"),
            false,
            "the token server 'REALM/token?…' sent no token: the answer is not valid",
        ),
        (
            Reply::new(418, "teapot"),
            false,
            "'REALM/token?…' answered with status 418: teapot",
        ),
    ] {
        let tokens = FakeRegistry::start(move |_| token_reply.clone());
        let server = guarded(format!("{}/token", tokens.url()), None, &["t1"]);
        let client = if has_login {
            with_login("marie", "curie")
        } else {
            anonymous()
        };
        let error = fetch(&client, &server.url(), &descriptor(BLOB), b"").unwrap_err();
        let text = error.to_string();
        let text = text
            .replace(&server.url(), "URL")
            .replace(&tokens.url(), "REALM");
        assert_eq!(text, expected);
    }
}

/// Everything that came with a request, also in the encodings that servers use.
fn echo(request: &Received) -> String {
    let header = request.header("authorization").unwrap_or_default();
    let value = header.split(' ').next_back().unwrap_or_default();
    let decoded = STANDARD.decode(value).unwrap_or_default();
    let decoded = String::from_utf8_lossy(&decoded);
    let encoded: String = form_urlencoded::byte_serialize(decoded.as_bytes()).collect();
    let body = String::from_utf8_lossy(&request.body);
    format!("{header} {decoded} {encoded} {body}").replace(['\r', '\n'], "")
}

/// Fails where the error holds one of `secrets`.
fn hides(result: Result<impl Sized, RegistryError>, secrets: &[&str]) {
    let Err(error) = result else {
        panic!("it should have failed");
    };
    for text in [error.to_string(), format!("{error:?}")] {
        let told = secrets.iter().find(|secret| text.contains(**secret));
        assert_eq!(told, None, "{text}");
        assert!(text.contains('…'), "it repeats nothing: {text}");
    }
}

const PASSWORD: &str = "pa s\"w/%d";
/// The password, its beginning, its encodings in URLs and JSON, the header, and tokens.
const SECRETS: [&str; 8] = [
    PASSWORD,
    "pa s",
    "pa+s",
    "pa%20s",
    "bWFyaWU6cGEgcyJ3",
    "t0ken",
    "refresh me",
    "refresh+me",
];

#[test]
fn errors_hide_credentials_that_a_server_repeats() {
    let answers: [fn(&str) -> Reply; 8] = [
        |said| Reply::new(403, json!({"errors": [{"message": said}]}).to_string()),
        |said| Reply::new(404, json!({"errors": [{"code": said}]}).to_string()),
        |said| Reply::new(500, json!({"details": said}).to_string()),
        |said| Reply::new(418, json!({"other": said}).to_string()),
        |said| Reply::new(401, format!("{}{said}", "x".repeat(290))),
        |said| Reply::new(429, "").header("RateLimit-Limit", said),
        |said| Reply::new(200, json!({"mediaType": said}).to_string()),
        |said| {
            let platform = json!({"os": "linux", "architecture": said});
            let digest = descriptor(b"").digest;
            let entry = json!({"digest": digest, "platform": platform});
            Reply::new(200, json!({"manifests": [entry]}).to_string())
        },
    ];
    let credentials = [
        Credential::Basic {
            username: "marie".to_string(),
            password: Secret::new(PASSWORD),
        },
        Credential::IdentityToken(Secret::new("refresh me")),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        for credential in &credentials {
            // A token server that repeats the credentials, a registry that does, and one that
            // repeats what only the token server got.
            let told = Arc::new(Mutex::new(String::new()));
            let heard = Arc::clone(&told);
            let tokens = FakeRegistry::start(move |request| {
                *heard.lock().unwrap() = echo(request);
                match request.path() {
                    "/deny" => answer(&echo(request)),
                    _ => Reply::new(200, r#"{"token":"t0ken"}"#),
                }
            });
            let realm = tokens.url();
            let server = FakeRegistry::start(move |request| {
                let wants = match request.path() {
                    path if path.starts_with("/v2/basic/") => "Basic realm=\"x\"".to_string(),
                    path if path.starts_with("/v2/deny/") => {
                        format!("Bearer realm=\"{realm}/deny\"")
                    }
                    _ => format!("Bearer realm=\"{realm}/grant\""),
                };
                match request.header("authorization") {
                    None => Reply::new(401, "").header("WWW-Authenticate", wants),
                    Some(_) => answer(&[echo(request), told.lock().unwrap().clone()].join(" ")),
                }
            });
            let client = with_credential(options(), credential.clone());
            let (url, version) = (registry(&server.url()), TagOrDigest::Tag("1".to_string()));
            for repository in ["basic/a", "grant/a", "deny/a"] {
                // A successful answer is not a refusal by the token server.
                if repository == "deny/a" && number >= 6 {
                    continue;
                }
                let platform = "linux/amd64".parse().unwrap();
                let found =
                    client.resolve_image(&url, &[repository.to_string()], &version, &platform);
                hides(found, &SECRETS);
            }
        }
    }
}

#[test]
fn unusable_realms_are_refused() {
    for (realm, reason) in [
        ("nowhere", "it is not an address"),
        ("ftp://h/token", "it is neither http nor https"),
    ] {
        let server = guarded(realm.to_string(), None, &[]);
        let error =
            fetch(&with_login("a", "b"), &server.url(), &descriptor(BLOB), b"").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "the token server '{realm}' that '{}' names cannot be used: {reason}",
                server.url()
            )
        );
    }
}

#[test]
fn check_auth_needs_no_repository() {
    let server = FakeRegistry::start(|request| match request.header("authorization") {
        Some("Basic bWFyaWU6Y3VyaWU=") => Reply::new(200, "{}"),
        _ => Reply::new(401, "").header("WWW-Authenticate", "Basic realm=\"x\""),
    });
    let url = registry(&server.url());
    assert_eq!(
        with_login("marie", "curie").check_auth(&url).unwrap(),
        LoginCheck::Accepted
    );
    let wrong = with_login("marie", "wrong").check_auth(&url).unwrap_err();
    assert!(
        matches!(wrong, RegistryError::BadCredentials { .. }),
        "{wrong}"
    );
    let none = anonymous().check_auth(&url).unwrap_err();
    assert!(
        matches!(none, RegistryError::LoginRequired { .. }),
        "{none}"
    );
    let open = FakeRegistry::start(|_| Reply::new(200, "{}"));
    let check = with_login("marie", "curie").check_auth(&registry(&open.url()));
    assert_eq!(check.unwrap(), LoginCheck::NotAsked);
}

fn with_burning_keystore() -> Client {
    Client::new(options(), |_: &udocker::oci::RegistryUrl, _: &str| {
        Err("the keystore is on fire".into())
    })
    .unwrap()
}

#[test]
fn unreadable_credentials_are_reported_when_needed() {
    let wants = FakeRegistry::start(|_| {
        Reply::new(401, "").header("WWW-Authenticate", "Basic realm=\"x\"")
    });
    let refuses = FakeRegistry::start(|_| Reply::new(403, ""));
    let tokens = FakeRegistry::start(|request| match request.path() {
        "/refuse" => Reply::new(401, ""),
        _ => Reply::new(200, r#"{"token":"powerless"}"#),
    });
    let gets_none = guarded(format!("{}/refuse", tokens.url()), None, &["t1"]);
    let gets_less = guarded(tokens.url(), None, &["t1"]);
    for server in [wants, refuses, gets_none, gets_less] {
        let client = with_burning_keystore();
        let error = fetch(&client, &server.url(), &descriptor(BLOB), b"").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "cannot read the credentials for '{}': the keystore is on fire",
                server.url()
            )
        );
    }
}

#[test]
fn public_images_need_no_readable_credentials() {
    let tokens = FakeRegistry::start(|_| Reply::new(200, r#"{"token":"t1"}"#));
    let server = guarded(tokens.url(), None, &["t1"]);
    let client = with_burning_keystore();
    let bytes = fetch(&client, &server.url(), &descriptor(BLOB), b"").unwrap();
    assert_eq!(bytes, BLOB);
    assert_eq!(tokens.requests()[0].header("authorization"), None);
}

/// Nexus names a token server that is none, and means Basic.
#[test]
fn basic_is_used_if_the_token_server_cannot_be() {
    for realm in ["/service/token", "", "ldap://h/x"] {
        let server = FakeRegistry::start(move |request| match request.header("authorization") {
            Some("Basic bWFyaWU6Y3VyaWU=") => Reply::new(200, BLOB),
            _ => Reply::new(401, "")
                .header("WWW-Authenticate", format!("Bearer realm=\"{realm}\""))
                .header("WWW-Authenticate", "BASIC realm=\"Nexus\""),
        });
        let client = with_login("marie", "curie");
        let bytes = fetch(&client, &server.url(), &descriptor(BLOB), b"");
        assert_eq!(bytes.unwrap(), BLOB, "{realm}");
        let error = fetch(&anonymous(), &server.url(), &descriptor(BLOB), b"").unwrap_err();
        assert!(
            matches!(error, RegistryError::LoginRequired { .. }),
            "{error}"
        );
    }
}
