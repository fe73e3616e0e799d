//! The client with the real `docker-registry`: plain, with TLS, passwords and tokens.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use udocker::oci::{ConfigSource, Credential, Digest, Secret, TagOrDigest};
use udocker::progress::Silent;
use udocker::registry::{
    Client, ClientOptions, LoginCheck, NoCredentials, RegistryError, TrustedCertificates,
};

use super::client::{anonymous, options, registry, with_credential, with_login};
use crate::support::registry_server::{Auth, PASSWORD, RegistryServer, USERNAME};

const LAYER: &[u8] = b"the only layer";

/// Pulls `lab/tool:1` whole and returns its layer.
fn pull(client: &Client, server: &RegistryServer) -> Result<Vec<u8>, RegistryError> {
    let url = registry(&server.url());
    let image = client.resolve_image(
        &url,
        &["lab/tool".to_string()],
        &TagOrDigest::Tag("1".to_string()),
        &"linux/amd64".parse().unwrap(),
    )?;
    let mut bytes = Vec::new();
    if let ConfigSource::Blob(config) = &image.manifest.config {
        client.fetch_blob(&url, &image.repository, config, &mut Vec::new(), &Silent)?;
    }
    for layer in &image.manifest.layers {
        client.fetch_blob(&url, &image.repository, layer, &mut bytes, &Silent)?;
    }
    Ok(bytes)
}

fn filled() -> RegistryServer {
    let server = RegistryServer::plain();
    server.push_image("lab/tool", "1", LAYER);
    server
}

#[test]
fn docker_registry_serves_images_tags_and_catalog() {
    let server = filled();
    server.push_image("lab/tool", "2", b"another");
    server.push_image("other", "1", LAYER);
    let client = anonymous();
    assert_eq!(pull(&client, &server).unwrap(), LAYER);
    let url = registry(&server.url());
    let mut tags = Vec::from_iter(client.tags(&url, "lab/tool").unwrap());
    tags.sort();
    assert_eq!(tags, ["1", "2"]);
    let repositories = client.catalog(&url).unwrap();
    assert_eq!(Vec::from_iter(repositories), ["lab/tool", "other"]);
    assert_eq!(client.check_auth(&url).unwrap(), LoginCheck::NotAsked);
    for (repository, version) in [
        ("lab/tool", TagOrDigest::Tag("none".to_string())),
        ("none", TagOrDigest::Tag("1".to_string())),
        ("lab/tool", TagOrDigest::Digest(Digest::of(b"none"))),
    ] {
        let error = client
            .fetch_manifest(&url, repository, &version)
            .unwrap_err();
        assert!(
            matches!(error, RegistryError::NoSuchManifest { .. }),
            "{error}"
        );
    }
}

#[test]
fn partial_download_resumes_at_docker_registry() {
    let server = RegistryServer::plain();
    let layer: Vec<u8> = (0..3_000_000u32).map(|n| (n * 7 % 251) as u8).collect();
    server.push_blob("lab/tool", &layer);
    let mut bytes = layer[..1_234_567].to_vec();
    let descriptor = super::client::descriptor(&layer);
    anonymous()
        .fetch_blob(
            &registry(&server.url()),
            "lab/tool",
            &descriptor,
            &mut bytes,
            &Silent,
        )
        .unwrap();
    assert!(bytes == layer);
}

#[test]
fn tls_needs_a_trusted_authority_or_insecure() {
    let server = filled().sibling(Auth::None, true);
    let trusted = ClientOptions {
        trusted: TrustedCertificates {
            file: Some(server.certificates.as_ref().unwrap().ca.clone()),
            directory: None,
        },
        ..options()
    };
    let client = Client::new(trusted, NoCredentials).unwrap();
    assert_eq!(pull(&client, &server).unwrap(), LAYER);
    let error = pull(&anonymous(), &server).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot reach '{}/v2/lab/tool/manifests/1': invalid peer certificate: UnknownIssuer",
            server.url()
        )
    );
    let insecure = ClientOptions {
        insecure: true,
        ..options()
    };
    let client = Client::new(insecure, NoCredentials).unwrap();
    assert_eq!(pull(&client, &server).unwrap(), LAYER);
}

#[track_caller]
fn assert_rejects_wrong_and_missing_login(server: &RegistryServer) {
    let error = pull(&with_login(USERNAME, "radium"), server).unwrap_err();
    assert!(
        matches!(error, RegistryError::BadCredentials { .. }),
        "{error}"
    );
    let error = pull(&anonymous(), server).unwrap_err();
    assert!(
        matches!(error, RegistryError::LoginRequired { .. }),
        "{error}"
    );
}

#[test]
fn basic_authentication_accepts_only_the_right_login() {
    let server = filled().sibling(Auth::Basic, false);
    assert_eq!(
        pull(&with_login(USERNAME, PASSWORD), &server).unwrap(),
        LAYER
    );
    assert_rejects_wrong_and_missing_login(&server);
}

#[test]
fn tokens_are_fetched_once_per_scope() {
    let server = filled().sibling(Auth::Token, false);
    let client = with_login(USERNAME, PASSWORD);
    assert_eq!(pull(&client, &server).unwrap(), LAYER);
    let tokens = server.tokens.as_ref().unwrap();
    assert_eq!(tokens.requests().len(), 1);
    let url = registry(&server.url());
    assert_eq!(client.check_auth(&url).unwrap(), LoginCheck::Accepted);
    let repositories = client.catalog(&url).unwrap();
    assert_eq!(Vec::from_iter(repositories), ["lab/tool"]);
    let tags = client.tags(&url, "lab/tool").unwrap();
    assert_eq!(Vec::from_iter(tags), ["1"]);
    assert_eq!(tokens.requests().len(), 3);
    assert_rejects_wrong_and_missing_login(&server);
}

#[test]
fn tls_registry_with_plain_token_server_needs_insecure() {
    let server = filled().sibling(Auth::Token, true);
    let options = ClientOptions {
        trusted: TrustedCertificates {
            file: Some(server.certificates.as_ref().unwrap().ca.clone()),
            directory: None,
        },
        ..options()
    };
    let login = Credential::Basic {
        username: USERNAME.to_string(),
        password: Secret::new(PASSWORD),
    };
    // The token server of the tests speaks plain http; a registry with TLS must not redirect to
    // that.
    let error = pull(&with_credential(options.clone(), login.clone()), &server).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("it is not protected by TLS, while the registry is"),
        "{error}"
    );
    let insecure = ClientOptions {
        insecure: true,
        ..options
    };
    assert_eq!(
        pull(&with_credential(insecure, login), &server).unwrap(),
        LAYER
    );
}

/// A proxy in front of `registry` that closes the first connection. It passes later TLS connections
/// on, and redirects plain http to https. Returns its address, and the beginnings of requests in
/// plain text.
fn redirecting_proxy(registry: String) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    thread::spawn(move || {
        drop(listener.accept());
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut first = [0];
            if stream.peek(&mut first).unwrap_or(0) == 1 && first == [0x16] {
                let server = TcpStream::connect(&registry).unwrap();
                for (mut from, mut to) in [
                    (stream.try_clone().unwrap(), server.try_clone().unwrap()),
                    (server, stream),
                ] {
                    thread::spawn(move || io::copy(&mut from, &mut to));
                }
                continue;
            }
            let mut head = vec![0; 4096];
            let count = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..count]).into_owned();
            let target = head.split(' ').nth(1).unwrap_or("/").to_string();
            heard.lock().unwrap().push(head);
            let answer = format!(
                "HTTP/1.1 301 Moved\r\nLocation: https://{address}{target}\r\n\
                 Content-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (address, told)
}

#[test]
fn insecure_client_sends_credentials_by_https_only_where_available() {
    let server = filled().sibling(Auth::Basic, true);
    let (address, told) = redirecting_proxy(server.host());
    let options = ClientOptions {
        insecure: true,
        ..options()
    };
    let login = Credential::Basic {
        username: USERNAME.to_string(),
        password: Secret::new(PASSWORD),
    };
    let client = with_credential(options, login);
    let url = registry(&format!("https://{address}"));
    assert_eq!(client.check_auth(&url).unwrap(), LoginCheck::Accepted);
    let tags = client.tags(&url, "lab/tool").unwrap();
    assert_eq!(Vec::from_iter(tags), ["1"]);
    let told = told.lock().unwrap();
    let has_login = |head: &&String| head.to_ascii_lowercase().contains("authorization");
    assert_eq!(told.iter().find(has_login), None);
}
