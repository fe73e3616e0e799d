//! Manifests, indexes, choice of platform, and lists of tags and repositories.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use udocker::oci::{Digest, Platform, TagOrDigest};
use udocker::registry::{RegistryError, ResolvedImage};

use super::client::{anonymous, registry, with_login};
use crate::support::fake_registry::{FakeRegistry, Reply};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The documents of a registry, by tag or digest.
#[derive(Default, Clone)]
struct Documents(Vec<(String, String, String)>);

impl Documents {
    fn add(&mut self, media_type: &str, document: &Value) -> Digest {
        let text = document.to_string();
        let digest = Digest::of(text.as_bytes());
        self.0
            .push((digest.to_string(), media_type.to_string(), text));
        digest
    }

    /// An image that tells its platform in its configuration.
    fn image(&mut self, platform: Value) -> Digest {
        let config = self.add("", &platform);
        let size = platform.to_string().len();
        let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config, "size": size});
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []});
        self.add(MANIFEST, &manifest)
    }

    fn index(&mut self, entries: &[Value]) -> Digest {
        self.add(INDEX, &json!({"schemaVersion": 2, "manifests": entries}))
    }

    fn tag(mut self, tag: &str, digest: &Digest) -> FakeRegistry {
        let (_, media_type, text) = self
            .0
            .iter()
            .find(|(name, _, _)| *name == digest.to_string())
            .unwrap()
            .clone();
        self.0.push((tag.to_string(), media_type, text));
        FakeRegistry::start(move |request| {
            let mut parts = request.path().rsplit('/');
            let (name, repository) = (parts.next().unwrap(), parts.nth(1).unwrap());
            match self.0.iter().find(|(key, _, _)| key == name) {
                Some((_, media_type, text)) if repository != "absent" => {
                    Reply::new(200, text.as_str()).header("Content-Type", media_type)
                }
                _ => Reply::new(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
            }
        })
    }
}

fn entry(media_type: &str, digest: &Digest, platform: Option<Value>) -> Value {
    let mut entry = json!({"mediaType": media_type, "digest": digest, "size": 1});
    if let Some(platform) = platform {
        entry["platform"] = platform;
    }
    entry
}

fn os_arch(architecture: &str) -> Value {
    json!({"os": "linux", "architecture": architecture})
}

fn resolve(server: &FakeRegistry, platform: &str) -> Result<ResolvedImage, RegistryError> {
    let platform: Platform = platform.parse().unwrap();
    let version = TagOrDigest::Tag("1".to_string());
    anonymous().resolve_image(
        &registry(&server.url()),
        &["tool".to_string()],
        &version,
        &platform,
    )
}

#[test]
fn resolve_image_chooses_the_platform() {
    let mut documents = Documents::default();
    let amd64 = documents.image(os_arch("amd64"));
    let v6 = documents.image(json!({"os": "linux", "architecture": "arm", "variant": "v6"}));
    let index = documents.index(&[
        entry(
            MANIFEST,
            &Digest::of(b"attestation"),
            Some(json!({"os": "unknown", "architecture": "unknown"})),
        ),
        entry(
            MANIFEST,
            &Digest::of(b"windows"),
            Some(json!({"os": "windows", "architecture": "amd64"})),
        ),
        entry(MANIFEST, &amd64, Some(os_arch("amd64"))),
        entry(
            MANIFEST,
            &v6,
            Some(json!({"os": "linux", "architecture": "arm", "variant": "v6"})),
        ),
    ]);
    let server = documents.tag("1", &index);
    let image = resolve(&server, "linux/amd64").unwrap();
    assert_eq!(Digest::of(&image.bytes), amd64);
    assert_eq!(image.platform, Some("linux/amd64".parse().unwrap()));
    let image = resolve(&server, "linux/arm/v7").unwrap();
    assert_eq!(Digest::of(&image.bytes), v6);
    assert_eq!(
        resolve(&server, "linux/s390x").unwrap_err().to_string(),
        "'tool' has no image for linux/s390x, only for linux/amd64, linux/arm/v6, windows/amd64"
    );
}

#[test]
fn resolve_image_looks_into_nested_indexes_and_entries_without_platform() {
    let mut documents = Documents::default();
    let amd64 = documents.image(os_arch("amd64"));
    let arm64 = documents.image(os_arch("arm64"));
    let inner = documents.index(&[entry(MANIFEST, &amd64, None), entry(MANIFEST, &arm64, None)]);
    let outer = documents.index(&[entry(INDEX, &inner, None), entry(INDEX, &inner, None)]);
    let server = documents.tag("1", &outer);
    for (platform, expected) in [("linux/arm64", arm64), ("linux/amd64", amd64)] {
        let image = resolve(&server, platform).unwrap();
        assert_eq!(Digest::of(&image.bytes), expected);
        assert_eq!(image.platform, Some(platform.parse().unwrap()));
    }
    assert_eq!(
        resolve(&server, "linux/riscv64").unwrap_err().to_string(),
        "'tool' has no image for linux/riscv64, only for linux/amd64, linux/arm64"
    );
}

#[test]
fn resolve_image_skips_artifacts() {
    let mut documents = Documents::default();
    let amd64 = documents.image(os_arch("amd64"));
    let config = json!({"mediaType": "application/vnd.oci.empty.v1+json",
        "digest": Digest::of(b"{}"), "size": 2});
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": []});
    let artifact = documents.add(MANIFEST, &manifest);
    let other = documents.add("application/json", &json!({"hello": "world"}));
    let index = documents.index(&[
        entry(MANIFEST, &artifact, None),
        entry("application/json", &other, None),
        entry(MANIFEST, &amd64, None),
    ]);
    let server = documents.clone().tag("1", &index);
    let image = resolve(&server, "linux/amd64").unwrap();
    assert_eq!(Digest::of(&image.bytes), amd64);
    // An artifact that is requested directly is refused.
    let server = documents.tag("1", &artifact);
    let error = resolve(&server, "linux/amd64").unwrap_err();
    assert!(
        error.to_string().contains("not a container image but"),
        "{error}"
    );
}

#[test]
fn messages_quote_little_of_a_manifest() {
    let mut documents = Documents::default();
    let long = "x".repeat(1 << 20);
    let odd = documents.add("", &json!({"mediaType": long}));
    let error = resolve(&documents.tag("1", &odd), "linux/amd64").unwrap_err();
    assert!(error.to_string().len() < 1000, "{error}");
}

#[test]
fn deeply_nested_indexes_are_refused() {
    let mut documents = Documents::default();
    let mut digest = documents.image(os_arch("amd64"));
    for _ in 0..20 {
        digest = documents.index(&[entry(INDEX, &digest, None)]);
    }
    let server = documents.tag("1", &digest);
    let error = resolve(&server, "linux/amd64").unwrap_err();
    assert!(
        matches!(error, RegistryError::IndexTooDeep { .. }),
        "{error}"
    );
}

#[test]
fn resolve_image_tries_the_next_repository_name() {
    let mut documents = Documents::default();
    let image = documents.image(os_arch("amd64"));
    let server = documents.tag("1", &image);
    let find = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        anonymous().resolve_image(
            &registry(&server.url()),
            &names,
            &TagOrDigest::Tag("1".to_string()),
            &"linux/amd64".parse().unwrap(),
        )
    };
    assert_eq!(
        find(&["absent", "library/tool"]).unwrap().repository,
        "library/tool"
    );
    assert_eq!(
        find(&["absent", "lab/absent"]).unwrap_err().to_string(),
        format!(
            "'{}' has no '1' of 'absent': MANIFEST_UNKNOWN",
            server.url()
        )
    );
}

/// The answer for a name, the expected number of requests, and the expected error if the next name
/// is absent, too.
#[test]
fn proxy_registry_answers_count_as_absent_names() {
    let unknown = r#"{"errors":[{"code":"UNKNOWN","message":"unknown error"}]}"#;
    for (status, tries, expected) in [
        (500, 1, "'URL' has no '1' of 'library/tool': "),
        (400, 1, "'URL' has no '1' of 'library/tool': "),
        (403, 1, "'URL' denies access to 'tool': "),
        (404, 1, "'URL' has no '1' of 'tool': "),
        (
            401,
            1,
            "'URL' rejects the user name or password from a test: ",
        ),
        (
            503,
            4,
            "'URL/v2/tool/manifests/1' answered with status 503: ",
        ),
    ] {
        let has_library = Arc::new(AtomicBool::new(true));
        let is_there = Arc::clone(&has_library);
        let server = FakeRegistry::start(move |request| {
            let is_known = request.header("authorization").is_some();
            let is_library = request.path().contains("/library/");
            match request.path() {
                path if path.ends_with("/token") && request.target.contains("%3Atool%3A") => {
                    Reply::new(401, unknown)
                }
                path if path.ends_with("/token") => Reply::new(200, r#"{"token":"t"}"#),
                _ if status == 401 && !is_known => Reply::new(401, "").header(
                    "WWW-Authenticate",
                    format!(
                        "Bearer realm=\"http://{}/token\"",
                        request.header("host").unwrap()
                    ),
                ),
                _ if !is_library => Reply::new(status, unknown),
                _ if !is_there.load(Ordering::SeqCst) => Reply::new(404, unknown),
                path if path.ends_with("/list") => Reply::new(200, r#"{"tags":["1"]}"#),
                _ => Reply::new(200, "{}"),
            }
        });
        let url = registry(&server.url());
        let names = ["tool".to_string(), "library/tool".to_string()];
        let version = TagOrDigest::Tag("1".to_string());
        let find = || with_login("marie", "secret").find_manifest(&url, &names, &version);
        let found = find();
        let asked = |path: &str| {
            let requests = server.requests();
            requests.iter().filter(|r| r.path() == path).count()
        };
        assert_eq!(asked("/v2/tool/manifests/1"), tries, "{status}");
        if tries == 1 {
            assert_eq!(found.unwrap().0, "library/tool", "{status}");
            let tags = with_login("marie", "secret").find_tags(&url, &names);
            assert_eq!(Vec::from_iter(tags.unwrap()), ["1"], "{status}");
        }
        has_library.store(false, Ordering::SeqCst);
        let text = find().unwrap_err().to_string();
        let text = text.replace(&server.url(), "URL");
        assert!(text.starts_with(expected), "{status}: {text}");
    }
}

#[test]
fn manifest_with_another_digest_is_refused() {
    let real = Digest::of(b"{}");
    let other = Digest::of(b"other");
    let server = FakeRegistry::start({
        let other = other.clone();
        move |request| match request.path() {
            "/v2/tool/manifests/lied" => {
                Reply::new(200, "{}").header("Docker-Content-Digest", &other)
            }
            _ => Reply::new(200, "{}"),
        }
    });
    let fetch = |version: TagOrDigest| {
        anonymous().fetch_manifest(&registry(&server.url()), "tool", &version)
    };
    for version in [
        TagOrDigest::Tag("lied".to_string()),
        TagOrDigest::Digest(other.clone()),
    ] {
        match fetch(version).unwrap_err() {
            RegistryError::ManifestDigest {
                expected, found, ..
            } => {
                assert_eq!((expected, found), (other.clone(), real.clone()));
            }
            error => panic!("{error}"),
        }
    }
    assert_eq!(
        fetch(TagOrDigest::Tag("x".to_string())).unwrap().digest,
        real
    );
}

#[test]
fn lists_follow_pages_of_the_same_host_only() {
    let elsewhere = FakeRegistry::start(|_| Reply::new(200, r#"{"tags":["stolen"]}"#));
    let away = format!("<{}/x>; rel=\"next\"", elsewhere.url());
    let server = FakeRegistry::start(move |request| match request.target.as_str() {
        "/v2/lab/tool/tags/list?n=1000" => Reply::new(200, r#"{"name":"t","tags":["a","b"]}"#)
            .header(
                "Link",
                "</v2/lab/tool/tags/list?last=b&n=1000>; rel=\"next\"",
            ),
        "/v2/lab/tool/tags/list?last=b&n=1000" => {
            Reply::new(200, r#"{"tags":["c\u001b[1m"]}"#).header("Link", &away)
        }
        "/v2/_catalog?n=1000" => Reply::new(200, r#"{"repositories":["r"]}"#)
            .header("Link", "<_catalog?n=1000>; rel=\"next\""),
        _ => Reply::new(404, "404 page not found"),
    });
    let url = registry(&server.url());
    assert_eq!(
        Vec::from_iter(anonymous().tags(&url, "lab/tool").unwrap()),
        ["a", "b", "c[1m"]
    );
    assert!(elsewhere.requests().is_empty());
    // A page that links to itself ends the list.
    assert_eq!(
        Vec::from_iter(anonymous().catalog(&url).unwrap()),
        ["r", "r"]
    );
    assert_eq!(
        anonymous().tags(&url, "lab/none").unwrap_err().to_string(),
        format!("'{url}' does not have 'lab/none': 404 page not found")
    );
}

#[test]
fn pages_of_another_host_are_read_without_credentials() {
    let elsewhere = FakeRegistry::start(|request| match request.target.as_str() {
        "/moved?n=1000" => {
            Reply::new(200, r#"{"tags":["a"]}"#).header("Link", "</moved?last=a>; rel=\"next\"")
        }
        "/moved?last=a" => {
            Reply::new(200, r#"{"tags":["b"]}"#).header("Link", "</moved?last=b>; rel=\"next\"")
        }
        _ => Reply::new(401, "").header("WWW-Authenticate", "Basic realm=\"give it to me\""),
    });
    let target = format!("{}/moved?n=1000", elsewhere.url());
    let server = FakeRegistry::start(move |request| match request.header("authorization") {
        None => Reply::new(401, "").header("WWW-Authenticate", "Basic realm=\"r\""),
        Some(_) => Reply::new(307, "").header("Location", &target),
    });
    let error = with_login("marie", "secret")
        .tags(&registry(&server.url()), "lab/tool")
        .unwrap_err();
    assert!(
        error.to_string().contains("answered with status 401"),
        "{error}"
    );
    assert_eq!(
        elsewhere.log(),
        [
            "GET /moved?n=1000",
            "GET /moved?last=a",
            "GET /moved?last=b"
        ]
    );
    let told = elsewhere.requests();
    assert!(told.iter().all(|r| r.header("authorization").is_none()));
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn next_page_is_requested_from_the_registry_itself() {
    let server = FakeRegistry::start(|request| match request.target.as_str() {
        "/v2/lab/tool/tags/list?n=1000" => Reply::new(200, r#"{"tags":["a"]}"#).header(
            "Link",
            "<https://127.0.0.1:1/v2/lab/tool/tags/list?last=a>; rel=\"next\"",
        ),
        "/v2/lab/tool/tags/list?last=a" => Reply::new(200, r#"{"tags":["b"]}"#),
        _ => Reply::new(404, ""),
    });
    let tags = anonymous().tags(&registry(&server.url()), "lab/tool");
    assert_eq!(Vec::from_iter(tags.unwrap()), ["a", "b"]);
}

#[test]
fn endless_list_of_pages_ends() {
    let server = FakeRegistry::start(|request| {
        let next = format!("<{}0>; rel=\"next\"", request.target);
        Reply::new(200, r#"{"tags":["a"]}"#).header("Link", next)
    });
    let tags = anonymous().tags(&registry(&server.url()), "lab/tool");
    assert_eq!(tags.unwrap().count(), 5000);
}

/// A proxy may add a link of its own.
#[test]
fn the_next_page_may_be_in_any_link_header() {
    let server = FakeRegistry::start(|request| match request.target.contains("last=") {
        true => Reply::new(200, r#"{"tags":["b"]}"#),
        false => Reply::new(200, r#"{"tags":["a"]}"#)
            .header("Link", "<https://proxy/style.css>; rel=\"preload\"")
            .header("Link", "</v2/lab/tool/tags/list?last=a>; rel=\"next\""),
    });
    let tags = anonymous().tags(&registry(&server.url()), "lab/tool");
    assert_eq!(Vec::from_iter(tags.unwrap()), ["a", "b"]);
}
