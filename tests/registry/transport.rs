//! Redirects, retries, proxies, timeouts, and servers that are not registries.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use udocker::oci::TagOrDigest;
use udocker::registry::{
    Client, ClientOptions, NoCredentials, Proxies, RegistryError, RetryPolicy,
};

use super::client::{anonymous, descriptor, fetch, options, registry, with_login};
use crate::support::fake_registry::{FakeRegistry, Reply};
use crate::support::wait::wait_until;

const BLOB: &[u8] = b"some bytes";

fn tag(text: &str) -> TagOrDigest {
    TagOrDigest::Tag(text.to_string())
}

fn manifest_error(client: &Client, url: &str) -> RegistryError {
    client
        .fetch_manifest(&registry(url), "lab/tool", &tag("1"))
        .unwrap_err()
}

/// A server that answers the first requests with `first`, and all others with `then`.
fn at_first(first: Vec<Reply>, then: Reply) -> FakeRegistry {
    let count = AtomicUsize::new(0);
    FakeRegistry::start(move |_| {
        let at = count.fetch_add(1, Ordering::SeqCst);
        first.get(at).cloned().unwrap_or_else(|| then.clone())
    })
}

#[test]
fn redirects_carry_no_credentials_to_another_host() {
    for status in [301, 302, 303, 307, 308] {
        let store = FakeRegistry::start(|_| Reply::new(200, BLOB));
        let target = format!("{}/stored?signature=1", store.url());
        let server = FakeRegistry::start(move |request| {
            match (request.path(), request.header("authorization")) {
                (_, None) => Reply::new(401, "").header("WWW-Authenticate", "Basic realm=\"r\""),
                ("/v2/here", _) => Reply::new(status, "").header("Location", &target),
                _ => Reply::new(status, "").header("Location", "../../../here"),
            }
        });
        let client = with_login("marie", "secret");
        let bytes = fetch(&client, &server.url(), &descriptor(BLOB), b"").unwrap();
        assert_eq!(bytes, BLOB, "{status}");
        assert_eq!(store.log(), ["GET /stored?signature=1"]);
        assert_eq!(store.requests()[0].header("authorization"), None);
        let last = server.requests().pop().unwrap();
        assert!(
            last.header("authorization").is_some(),
            "the same host keeps it"
        );
    }
}

#[test]
fn challenge_from_another_host_gets_no_credentials() {
    let store = FakeRegistry::start(|_| {
        Reply::new(401, "").header("WWW-Authenticate", "Basic realm=\"give it to me\"")
    });
    let target = store.url();
    let server = FakeRegistry::start(move |_| Reply::new(302, "").header("Location", &target));
    let client = with_login("marie", "secret");
    fetch(&client, &server.url(), &descriptor(BLOB), b"").unwrap_err();
    assert!(
        store
            .requests()
            .iter()
            .all(|r| r.header("authorization").is_none())
    );
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn refusal_by_another_host_is_not_blamed_on_the_registry() {
    for status in [401, 403] {
        let store = FakeRegistry::start(move |_| Reply::new(status, "<Error>Expired</Error>"));
        let target = format!("{}/stored?signature=1", store.url());
        let server = FakeRegistry::start(move |_| Reply::new(307, "").header("Location", &target));
        let client = with_login("marie", "secret");
        let blob = fetch(&client, &server.url(), &descriptor(BLOB), b"").unwrap_err();
        for error in [blob, manifest_error(&client, &server.url())] {
            assert_eq!(
                error.to_string(),
                format!(
                    "'{}/stored?…' answered with status {status}: \
                     the answer is a web page, not a registry's",
                    store.url()
                )
            );
        }
    }
}

#[test]
fn redirect_loop_ends() {
    let server = FakeRegistry::start(|_| Reply::new(302, "").header("Location", "/again"));
    let error = manifest_error(&anonymous(), &server.url());
    assert!(
        error.to_string().ends_with("there are too many in a row"),
        "{error}"
    );
    assert_eq!(server.requests().len(), 11);
}

#[test]
fn temporary_failures_are_retried_and_final_ones_are_not() {
    for (status, tries) in [
        (400, 1),
        (403, 1),
        (404, 1),
        (408, 4),
        (429, 4),
        (500, 4),
        (503, 4),
    ] {
        let server = FakeRegistry::start(move |_| Reply::new(status, "why\u{7}"));
        manifest_error(&anonymous(), &server.url());
        assert_eq!(server.requests().len(), tries, "{status}");
    }
}

#[test]
fn request_succeeds_after_temporary_failures() {
    let first = vec![
        Reply::new(503, ""),
        Reply::new(429, "").header("Retry-After", 1),
    ];
    let server = at_first(first, Reply::new(200, BLOB));
    let start = Instant::now();
    let bytes = fetch(&anonymous(), &server.url(), &descriptor(BLOB), b"").unwrap();
    assert_eq!(bytes, BLOB);
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[test]
fn long_rate_limit_is_reported_at_once() {
    let server = FakeRegistry::start(|_| {
        let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#;
        Reply::new(429, body)
            .header("Retry-After", 3600)
            .header("ratelimit-limit", "100;w=21600")
            .header("ratelimit-remaining", "0;w=21600")
    });
    let error = manifest_error(&anonymous(), &server.url());
    let url = server.url();
    assert_eq!(
        error.to_string(),
        format!(
            "'{url}/v2/lab/tool/manifests/1' refuses further requests for now: \
             slow down (TOOMANYREQUESTS), ratelimit-limit 100;w=21600, \
             ratelimit-remaining 0;w=21600, retry after 3600 seconds"
        )
    );
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn nonsense_answers_get_one_line() {
    for (reply, expected) in [
        (
            Reply::new(200, "<html><body>Welcome</body></html>")
                .header("Content-Type", "text/html"),
            "'URL/v2/lab/tool/manifests/1' did not answer like a registry: a web page of type 'text/html'",
        ),
        (
            Reply::new(404, "<html>no</html>"),
            "'URL' has no '1' of 'lab/tool': the answer is a web page, not a registry's",
        ),
        (
            Reply::new(400, "bad\u{1b}[2J\nrequest"),
            "'URL/v2/lab/tool/manifests/1' answered with status 400: bad[2J",
        ),
        (
            Reply::new(403, r#"{"errors":[{"code":"DENIED","message":"no\nway"}]}"#),
            "'URL' requires a login for 'lab/tool', or does not have it: no way (DENIED)",
        ),
        (
            Reply::new(401, ""),
            "'URL' requires a login for 'lab/tool', or does not have it",
        ),
        (
            Reply::new(401, "").header("WWW-Authenticate", "Negotiate"),
            "'URL' offers no supported way to authenticate: 'Negotiate'",
        ),
        (
            Reply::new(200, vec![b' '; (4 << 20) + 1]),
            "the answer of 'URL/v2/lab/tool/manifests/1' is larger than 4194304 bytes",
        ),
        (
            Reply::new(302, "").header("Location", "gopher://h/"),
            "'URL/v2/lab/tool/manifests/1' sent a redirect that is not followed: it leads away from http",
        ),
    ] {
        let server = FakeRegistry::start(move |_| reply.clone());
        let error = manifest_error(&anonymous(), &server.url());
        assert_eq!(error.to_string().replace(&server.url(), "URL"), expected);
    }
}

#[test]
fn server_without_http_is_reported() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let error = manifest_error(&anonymous(), &format!("http://{address}"));
    let text = error.to_string();
    assert!(text.starts_with(&format!(
        "cannot reach 'http://{address}/v2/lab/tool/manifests/1': "
    )));
    assert!(text.to_lowercase().contains("connection refused"), "{text}");

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let client = Client::new(
        ClientOptions {
            read_timeout: Duration::from_secs(1),
            retry: RetryPolicy {
                retries: 0,
                ..options().retry
            },
            ..options()
        },
        NoCredentials,
    )
    .unwrap();
    let error = manifest_error(&client, &url);
    assert!(
        error.to_string().ends_with(": no answer within 1 seconds"),
        "{error}"
    );
}

#[test]
fn stalled_download_times_out_and_resumes() {
    let count = AtomicUsize::new(0);
    let server = FakeRegistry::start(move |request| {
        let reply = Reply::new(200, BLOB).ranged(request);
        match count.fetch_add(1, Ordering::SeqCst) {
            0 => reply.pause(Duration::from_secs(30)),
            _ => reply,
        }
    });
    let client = Client::new(
        ClientOptions {
            download_timeout: Duration::from_millis(500),
            ..options()
        },
        NoCredentials,
    )
    .unwrap();
    let start = Instant::now();
    assert_eq!(
        fetch(&client, &server.url(), &descriptor(BLOB), b"").unwrap(),
        BLOB
    );
    assert!(start.elapsed() < Duration::from_secs(10));
}

/// A registry that is a cache may fetch a whole layer before it answers, or pause in its middle.
#[test]
fn a_blob_may_keep_the_client_waiting_and_a_document_may_not() {
    let pause = Duration::from_millis(1500);
    let server = FakeRegistry::start(move |request| {
        std::thread::sleep(pause);
        Reply::new(200, BLOB).ranged(request).pause(pause)
    });
    let mut options = options();
    options.read_timeout = Duration::from_millis(200);
    options.retry.retries = 0;
    let client = Client::new(options, NoCredentials).unwrap();
    let url = server.url();
    assert_eq!(fetch(&client, &url, &descriptor(BLOB), b"").unwrap(), BLOB);
    let error = manifest_error(&client, &url).to_string();
    assert!(error.ends_with(": no answer within 0 seconds"), "{error}");
}

#[test]
fn a_silent_server_is_asked_for_a_blob_twice() {
    let server = FakeRegistry::start(|_| Reply::new(200, BLOB).pause(Duration::from_secs(30)));
    let mut options = options();
    options.download_timeout = Duration::from_millis(200);
    let client = Client::new(options, NoCredentials).unwrap();
    let error = fetch(&client, &server.url(), &descriptor(BLOB), b"").unwrap_err();
    assert!(
        matches!(error, RegistryError::Interrupted { .. }),
        "{error}"
    );
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn trickling_download_times_out() {
    let server = FakeRegistry::start(|_| {
        Reply::new(200, vec![b' '; 10_000]).drip(Duration::from_millis(50))
    });
    let client = Client::new(
        ClientOptions {
            read_timeout: Duration::from_millis(300),
            download_timeout: Duration::from_secs(3),
            ..options()
        },
        NoCredentials,
    )
    .unwrap();
    let start = Instant::now();
    let error = manifest_error(&client, &server.url()).to_string();
    assert!(
        error.ends_with("almost nothing of the answer within 3 seconds"),
        "{error}"
    );
    let blob = vec![b' '; 10_000];
    let error = fetch(&client, &server.url(), &descriptor(&blob), b"").unwrap_err();
    let error = error.to_string();
    assert!(
        error.ends_with("almost nothing of the answer within 3 seconds"),
        "{error}"
    );
    // One of the manifest, two of the blob.
    assert_eq!(server.requests().len(), 3);
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn requests_use_the_proxy_unless_excepted() {
    let proxy = FakeRegistry::start(|_| Reply::new(200, BLOB));
    let server = FakeRegistry::start(|_| Reply::new(200, BLOB));
    let client = |except: Option<&str>| {
        let address = proxy.url().replace("http://", "http://me:pw@");
        let options = ClientOptions {
            proxies: Proxies {
                except: except.map(str::to_string),
                ..Proxies::all(&address)
            },
            ..options()
        };
        Client::new(options, NoCredentials).unwrap()
    };
    // Loopback addresses are not excepted.
    fetch(&client(None), &server.url(), &descriptor(BLOB), b"").unwrap();
    let request = proxy.requests().pop().unwrap();
    assert!(
        request.target.starts_with(&server.url()),
        "{}",
        request.target
    );
    assert_eq!(
        request.header("proxy-authorization"),
        Some("Basic bWU6cHc=")
    );
    fetch(
        &client(Some("example.org")),
        "http://registry.invalid",
        &descriptor(BLOB),
        b"",
    )
    .unwrap();
    assert_eq!((proxy.requests().len(), server.requests().len()), (2, 0));
    fetch(
        &client(Some("127.0.0.1")),
        &server.url(),
        &descriptor(BLOB),
        b"",
    )
    .unwrap();
    assert_eq!((proxy.requests().len(), server.requests().len()), (2, 1));
}

#[test]
fn requests_use_socks_proxies() {
    for (scheme, expected) in [("socks5h", 5), ("socks5", 5), ("socks4a", 4), ("socks4", 4)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let greeting = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut first = [0];
            std::io::Read::read_exact(&mut stream, &mut first).unwrap();
            first[0]
        });
        let mut options = options();
        options.retry.retries = 0;
        options.proxies = Proxies::all(&format!("{scheme}://me:pw@{address}"));
        let client = Client::new(options, NoCredentials).unwrap();
        manifest_error(&client, "http://127.0.0.1:9");
        assert_eq!(greeting.join().unwrap(), expected, "{scheme}");
    }
}

#[test]
fn insecure_registry_may_speak_plain_http() {
    let server = FakeRegistry::start(|request| match request.path() {
        path if path.starts_with("/v2/") => Reply::new(200, BLOB),
        _ => Reply::new(400, ""),
    });
    let https = server.url().replace("http://", "https://");
    let insecure = ClientOptions {
        insecure: true,
        ..options()
    };
    let client = Client::new(insecure, NoCredentials).unwrap();
    assert_eq!(
        fetch(&client, &https, &descriptor(BLOB), b"").unwrap(),
        BLOB
    );
    assert_eq!(
        fetch(&client, &https, &descriptor(BLOB), b"").unwrap(),
        BLOB
    );
    let error = fetch(&anonymous(), &https, &descriptor(BLOB), b"").unwrap_err();
    assert!(
        matches!(error, RegistryError::Unreachable { .. }),
        "{error}"
    );
}

#[test]
fn unreachable_insecure_registry_is_not_asked_by_plain_http() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&requests);
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in silent.incoming() {
            let mut stream = stream.unwrap();
            let mut beginning = [0; 3];
            if stream.read_exact(&mut beginning).is_ok() {
                heard.lock().unwrap().push(beginning);
            }
            // Without an answer.
            open.push(stream);
        }
    });
    let options = ClientOptions {
        insecure: true,
        read_timeout: Duration::from_millis(200),
        connect_timeout: Duration::from_millis(200),
        retry: RetryPolicy {
            retries: 0,
            ..options().retry
        },
        ..options()
    };
    let client = Client::new(options, NoCredentials).unwrap();
    let error = manifest_error(&client, &format!("https://{address}"));
    assert!(error.to_string().contains("no answer within"), "{error}");
    let heard = || requests.lock().unwrap().clone();
    wait_until("the server hears of it", || !heard().is_empty());
    let heard = heard();
    assert!(
        heard.iter().all(|beginning| beginning != b"GET"),
        "{heard:?}"
    );
}
