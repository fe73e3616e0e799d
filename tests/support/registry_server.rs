//! The real `docker-registry` on loopback, with or without TLS and authentication.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses a part, and a broken server is a failed test"
)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use udocker::oci::Digest;

use super::fake_registry::{FakeRegistry, Received, Reply};
use super::tls::{Certificates, TokenSigner};

/// The account that servers with authentication know.
pub const USERNAME: &str = "marie";
/// Its password.
pub const PASSWORD: &str = "polonium: 84";

const START_TIMEOUT: Duration = Duration::from_secs(120);
const TOKEN_SERVICE: &str = "test registry, loopback";
const TOKEN_ISSUER: &str = "test token server";

/// How a server authenticates its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Not at all.
    None,
    /// By user name and password.
    Basic,
    /// By tokens of the token server in this process.
    Token,
}

/// A running registry; dropping it ends it. Several may share one storage.
pub struct RegistryServer {
    child: Child,
    /// `127.0.0.1:port`
    host: String,
    /// The authority to trust, of a server with TLS.
    pub certificates: Option<Certificates>,
    /// The token server, of a server that wants tokens.
    pub tokens: Option<FakeRegistry>,
    storage: PathBuf,
    /// Keeps the storage while a server uses it.
    owned: Option<Arc<TempDir>>,
    _home: TempDir,
}

impl RegistryServer {
    /// Starts a registry without TLS and authentication, and without images.
    pub fn plain() -> RegistryServer {
        let owned = Arc::new(TempDir::new().unwrap());
        RegistryServer::start(owned.path(), Some(owned.clone()), Auth::None, false)
    }

    /// Starts a registry on a storage directory that outlives it.
    pub fn over(storage: &Path, auth: Auth, tls: bool) -> RegistryServer {
        RegistryServer::start(storage, None, auth, tls)
    }

    /// Starts another registry on the storage of this one.
    pub fn sibling(&self, auth: Auth, tls: bool) -> RegistryServer {
        RegistryServer::start(&self.storage, self.owned.clone(), auth, tls)
    }

    fn start(storage: &Path, owned: Option<Arc<TempDir>>, auth: Auth, tls: bool) -> RegistryServer {
        let home = TempDir::new().unwrap();
        let certificates = tls.then(|| Certificates::create(home.path()));
        let (auth_config, tokens) = auth_config(auth, home.path());
        let mut config = json!({
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": true}},
            "storage": {
                "filesystem": {"rootdirectory": storage},
                "delete": {"enabled": true},
            },
            // The system chooses the port, which the log names.
            "http": {"addr": "127.0.0.1:0", "secret": "only for tests"},
        });
        if let Some(auth_config) = auth_config {
            config["auth"] = auth_config;
        }
        if let Some(files) = &certificates {
            config["http"]["tls"] = json!({"certificate": files.certificate, "key": files.key});
        }
        let file = home.path().join("config.yml");
        // YAML is a superset of JSON.
        fs::write(&file, config.to_string()).unwrap();
        let log = home.path().join("log");
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .env_clear()
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .expect("docker-registry is installed");
        RegistryServer {
            host: wait_for_address(&mut child, &log),
            child,
            certificates,
            tokens,
            storage: storage.to_path_buf(),
            owned,
            _home: home,
        }
    }

    /// `127.0.0.1:port`
    pub fn host(&self) -> String {
        self.host.clone()
    }

    /// `http://127.0.0.1:port` or with `https`
    pub fn url(&self) -> String {
        let scheme = if self.certificates.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.host)
    }

    /// The reference of an image in this registry, with `http://` where it is needed.
    pub fn reference(&self, image: &str) -> String {
        match self.certificates {
            Some(_) => format!("{}/{image}", self.host),
            None => format!("{}/{image}", self.url()),
        }
    }

    /// Pushes an image of an OCI layout with skopeo, and returns its reference. The server must
    /// require neither TLS nor authentication.
    pub fn push_layout(&self, layout: &Path, tag: &str, image: &str) -> String {
        let copied = Command::new("skopeo")
            .args([
                "--insecure-policy",
                "copy",
                "--quiet",
                "--dest-tls-verify=false",
            ])
            .arg(format!("oci:{}:{tag}", layout.display()))
            .arg(format!("docker://{}/{image}", self.host))
            .output()
            .expect("skopeo is installed");
        assert!(copied.status.success(), "skopeo: {copied:?}");
        self.reference(image)
    }

    /// Uploads a blob. The server must require neither TLS nor authentication.
    pub fn push_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let http = reqwest::blocking::Client::builder()
            .no_proxy()
            .timeout(None)
            .tls_backend_preconfigured(no_tls())
            .build()
            .unwrap();
        let start = format!("{}/v2/{repository}/blobs/uploads/", self.url());
        let answer = http.post(start).send().unwrap();
        assert_eq!(answer.status(), 202);
        let location = answer.headers()["location"].to_str().unwrap();
        let mut upload = url::Url::parse(&self.url())
            .unwrap()
            .join(location)
            .unwrap();
        upload
            .query_pairs_mut()
            .append_pair("digest", &digest.to_string());
        let answer = http.put(upload).body(bytes.to_vec()).send().unwrap();
        assert_eq!(answer.status(), 201);
        digest
    }

    /// Uploads a manifest or index under a tag or digest.
    pub fn push_manifest(&self, repository: &str, version: &str, manifest: &Value) -> Digest {
        let bytes = manifest.to_string();
        let answer = reqwest::blocking::Client::builder()
            .no_proxy()
            .tls_backend_preconfigured(no_tls())
            .build()
            .unwrap()
            .put(format!(
                "{}/v2/{repository}/manifests/{version}",
                self.url()
            ))
            .header("Content-Type", manifest["mediaType"].as_str().unwrap())
            .body(bytes.clone())
            .send()
            .unwrap();
        assert_eq!(answer.status(), 201, "{}", answer.text().unwrap());
        Digest::of(bytes.as_bytes())
    }

    /// Uploads an image of one layer with this content, for amd64, and returns its manifest's
    /// digest and size.
    pub fn push_image(&self, repository: &str, version: &str, layer: &[u8]) -> (Digest, usize) {
        let config = json!({"os": "linux", "architecture": "amd64",
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(layer)]}})
        .to_string();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": self.push_blob(repository, config.as_bytes()),
                "size": config.len(),
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": self.push_blob(repository, layer),
                "size": layer.len(),
            }],
        });
        let digest = self.push_manifest(repository, version, &manifest);
        (digest, manifest.to_string().len())
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn no_tls() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

/// Reads the port from the log.
fn wait_for_address(child: &mut Child, log: &Path) -> String {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let text = fs::read_to_string(log).unwrap();
        if let Some((_, rest)) = text.split_once("listening on ")
            && let Some(end) = rest.find([',', '"', ' ', '\n'])
        {
            return rest[..end].to_string();
        }
        let has_ended = child.try_wait().unwrap().is_some();
        assert!(
            !has_ended && Instant::now() < deadline,
            "docker-registry does not start: {text}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

fn auth_config(auth: Auth, home: &Path) -> (Option<Value>, Option<FakeRegistry>) {
    match auth {
        Auth::None => (None, None),
        Auth::Basic => {
            let line = Command::new("htpasswd")
                .args(["-nbBC", "4", USERNAME, PASSWORD])
                .output()
                .expect("htpasswd is installed");
            let file = home.join("htpasswd");
            fs::write(&file, line.stdout).unwrap();
            let config = json!({"htpasswd": {"realm": "test, with \"quotes\"", "path": file}});
            (Some(config), None)
        }
        Auth::Token => {
            let signer = TokenSigner::create();
            let bundle = home.join("tokens.pem");
            fs::write(&bundle, &signer.certificate_pem).unwrap();
            let server = FakeRegistry::start(move |request| hand_out(&signer, request));
            let config = json!({"token": {
                "realm": format!("{}/token", server.url()),
                "service": TOKEN_SERVICE,
                "issuer": TOKEN_ISSUER,
                "rootcertbundle": bundle,
            }});
            (Some(config), Some(server))
        }
    }
}

/// Issues a token with the requested rights to the account, one without rights to anonymous
/// clients, and none for a wrong password.
fn hand_out(signer: &TokenSigner, request: &Received) -> Reply {
    let url = url::Url::parse("http://tokens")
        .unwrap()
        .join(&request.target)
        .unwrap();
    let right = format!(
        "Basic {}",
        STANDARD.encode(format!("{USERNAME}:{PASSWORD}"))
    );
    let is_known = match request.header("authorization") {
        None => false,
        Some(header) if header == right => true,
        Some(_) => return Reply::new(401, r#"{"details":"incorrect username or password"}"#),
    };
    let access: Vec<Value> = url
        .query_pairs()
        .filter(|(key, _)| key == "scope" && is_known)
        .map(|(_, scope)| {
            let parts: Vec<&str> = scope.splitn(3, ':').collect();
            let actions: Vec<&str> = parts[2].split(',').collect();
            json!({"type": parts[0], "name": parts[1], "actions": actions})
        })
        .collect();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let token = signer.sign(&json!({
        "iss": TOKEN_ISSUER, "aud": TOKEN_SERVICE, "sub": if is_known { USERNAME } else { "" },
        "nbf": now - 10, "iat": now, "exp": now + 300, "jti": format!("{now}"), "access": access,
    }));
    Reply::new(
        200,
        json!({"access_token": token, "expires_in": 300}).to_string(),
    )
}
