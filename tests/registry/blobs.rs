//! Downloads of blobs over unreliable connections and from incorrect servers.

use std::sync::atomic::{AtomicUsize, Ordering};

use udocker::progress::Silent;
use udocker::registry::{BlobFault, RegistryError};

use super::client::{FullDisk, anonymous, descriptor, fetch, registry};
use crate::support::fake_registry::{FakeRegistry, Reply};

const BLOB: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

fn ranges(server: &FakeRegistry) -> Vec<Option<String>> {
    let requests = server.requests();
    let range = |request: &crate::support::fake_registry::Received| {
        request.header("range").map(str::to_string)
    };
    requests.iter().map(range).collect()
}

#[test]
fn interrupted_download_resumes() {
    let count = AtomicUsize::new(0);
    let server = FakeRegistry::start(move |request| {
        let reply = Reply::new(200, BLOB).ranged(request);
        match count.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => reply.cut_at(10),
            _ => reply,
        }
    });
    let bytes = fetch(&anonymous(), &server.url(), &descriptor(BLOB), b"").unwrap();
    assert_eq!(bytes, BLOB);
    let expected = [None, Some("bytes=10-"), Some("bytes=20-")];
    assert_eq!(ranges(&server), expected.map(|r| r.map(str::to_string)));
}

/// As from an HTTP/1.0 server, or one that lost its own source.
#[test]
fn a_body_without_length_that_ends_early_is_resumed() {
    let server = FakeRegistry::start(|request| {
        let reply = Reply::new(200, BLOB).ranged(request).without_length();
        match request.header("range") {
            Some("bytes=20-") => reply,
            _ => reply.cut_at(10),
        }
    });
    let bytes = fetch(&anonymous(), &server.url(), &descriptor(BLOB), b"").unwrap();
    assert_eq!(bytes, BLOB);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn present_bytes_are_not_fetched_again() {
    let server = FakeRegistry::start(|request| Reply::new(200, BLOB).ranged(request));
    let client = anonymous();
    let bytes = fetch(&client, &server.url(), &descriptor(BLOB), &BLOB[..30]).unwrap();
    assert_eq!(bytes, BLOB);
    let bytes = fetch(&client, &server.url(), &descriptor(BLOB), BLOB).unwrap();
    assert_eq!(bytes, BLOB);
    assert_eq!(ranges(&server), [Some("bytes=30-".to_string())]);
}

#[test]
fn download_restarts_when_the_server_ignores_ranges() {
    let server = FakeRegistry::start(|_| Reply::new(200, BLOB));
    let bytes = fetch(&anonymous(), &server.url(), &descriptor(BLOB), &BLOB[..30]).unwrap();
    assert_eq!(bytes, BLOB);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn wrong_content_range_is_refused() {
    let server = FakeRegistry::start(|request| match request.header("range") {
        Some(_) => Reply::new(206, &BLOB[3..]).header("Content-Range", "bytes 3-35/36"),
        None => Reply::new(200, BLOB),
    });
    let bytes = fetch(&anonymous(), &server.url(), &descriptor(BLOB), &BLOB[..30]).unwrap();
    assert_eq!(bytes, BLOB);
}

#[test]
fn damaged_partial_download_is_discarded() {
    for kept in [
        b"not the blob".to_vec(),
        [BLOB, b"more"].concat(),
        vec![0; 36],
    ] {
        let server = FakeRegistry::start(|request| Reply::new(200, BLOB).ranged(request));
        let bytes = fetch(&anonymous(), &server.url(), &descriptor(BLOB), &kept).unwrap();
        assert_eq!(bytes, BLOB);
    }
}

#[test]
fn wrong_bytes_are_fetched_again_once_and_then_refused() {
    for (body, fault) in [
        (
            b"0123456789abcdefghijklmnopqrstuvwxyZ".to_vec(),
            BlobFault::Digest {
                found: udocker::oci::Digest::of(b"0123456789abcdefghijklmnopqrstuvwxyZ"),
            },
        ),
        ([BLOB, b"!"].concat(), BlobFault::TooLong { expected: 36 }),
        (
            BLOB[..35].to_vec(),
            BlobFault::TooShort {
                expected: 36,
                found: 35,
            },
        ),
    ] {
        let server = FakeRegistry::start({
            let body = body.clone();
            move |_| Reply::new(200, body.clone())
        });
        let error = fetch(&anonymous(), &server.url(), &descriptor(BLOB), b"").unwrap_err();
        match error {
            RegistryError::Blob {
                digest,
                fault: found,
                ..
            } => {
                assert_eq!((digest, found), (descriptor(BLOB).digest, fault));
            }
            other => panic!("{other}"),
        }
        assert_eq!(server.requests().len(), 2);
    }
}

#[test]
fn single_transmission_error_is_retried() {
    let count = AtomicUsize::new(0);
    let server = FakeRegistry::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::new(200, vec![0; BLOB.len()]),
        _ => Reply::new(200, BLOB),
    });
    assert_eq!(
        fetch(&anonymous(), &server.url(), &descriptor(BLOB), b"").unwrap(),
        BLOB
    );
}

#[test]
fn endless_body_is_stopped_at_the_announced_size() {
    let server = FakeRegistry::start(|_| Reply::new(200, vec![0; 50 << 20]));
    let mut sink = Vec::new();
    let client = anonymous();
    let result = client.fetch_blob(
        &registry(&server.url()),
        "lab/tool",
        &descriptor(BLOB),
        &mut sink,
        &Silent,
    );
    assert!(matches!(
        result,
        Err(RegistryError::Blob {
            fault: BlobFault::TooLong { expected: 36 },
            ..
        })
    ));
    assert_eq!((sink.len(), sink.capacity() < 1 << 20), (0, true));
}

#[test]
fn connection_that_always_breaks_ends_in_one_error() {
    let server = FakeRegistry::start(|_| Reply::new(200, BLOB).cut_at(0));
    let error = fetch(&anonymous(), &server.url(), &descriptor(BLOB), b"").unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("the download of blob sha256:"), "{text}");
    assert!(text.contains("broke off at 0 bytes: "), "{text}");
    assert!(!text.contains('\n'));
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn repeated_bytes_do_not_count_as_progress() {
    let blob = vec![0; 3 << 20];
    let (count, body) = (AtomicUsize::new(0), blob.clone());
    let server = FakeRegistry::start(move |_| {
        let bytes = match count.fetch_add(1, Ordering::SeqCst) % 2 {
            0 => 2 << 20,
            _ => 1,
        };
        Reply::new(200, body.clone()).cut_at(bytes)
    });
    let error = fetch(&anonymous(), &server.url(), &descriptor(&blob), b"").unwrap_err();
    assert!(
        matches!(error, RegistryError::Interrupted { .. }),
        "{error}"
    );
    // The first request made progress; the others are its retries.
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn full_disk_is_not_blamed_on_the_registry() {
    let server = FakeRegistry::start(|_| Reply::new(200, BLOB));
    let error = anonymous()
        .fetch_blob(
            &registry(&server.url()),
            "lab/tool",
            &descriptor(BLOB),
            &mut FullDisk,
            &Silent,
        )
        .unwrap_err();
    assert!(matches!(error, RegistryError::Sink { .. }), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn foreign_layer_is_fetched_from_its_url_without_credentials() {
    let store = FakeRegistry::start(|request| match request.path() {
        "/layer" => Reply::new(200, BLOB),
        _ => Reply::new(404, ""),
    });
    let server = FakeRegistry::start(|_| Reply::new(404, ""));
    let mut foreign = descriptor(BLOB);
    foreign.urls = vec![
        "ftp://nowhere/layer".to_string(),
        format!("{}/gone", store.url()),
        format!("{}/layer", store.url()),
    ];
    let client = super::client::with_login("marie", "secret");
    assert_eq!(fetch(&client, &server.url(), &foreign, b"").unwrap(), BLOB);
    assert_eq!(store.log(), ["GET /gone", "GET /layer"]);
    assert!(
        store
            .requests()
            .iter()
            .all(|r| r.header("authorization").is_none())
    );
    let error = fetch(&client, &server.url(), &descriptor(BLOB), b"").unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");
}

#[test]
fn empty_blob_is_fetched() {
    let server = FakeRegistry::start(|_| Reply::new(200, ""));
    assert_eq!(
        fetch(&anonymous(), &server.url(), &descriptor(b""), b"").unwrap(),
        b""
    );
}
