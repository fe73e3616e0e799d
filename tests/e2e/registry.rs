//! Real `docker-registry` processes over one prepared storage, each with the transport and the
//! guard a test wants.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

/// The account that guarded registries know.
pub const USER: &str = "reader";
/// Its password; the characters are those that break careless encoders.
pub const PASSWORD: &str = "pass:wörd/+=%";

/// What a registry asks of its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Nothing.
    Open,
    /// HTTP Basic authentication.
    Basic,
    /// Bearer tokens, from a token service of the test's own.
    Token,
}

/// How a registry is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Plain HTTP.
    Http,
    /// TLS with a certificate of a CA that nobody knows.
    Tls,
}

/// A running registry; dropping it ends the process.
pub struct Registry {
    process: Child,
    directory: tempfile::TempDir,
    address: String,
    transport: Transport,
}

impl Registry {
    /// Starts one that serves `storage` and waits until it answers.
    pub fn start(storage: &Path, transport: Transport, guard: Guard) -> Registry {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut config = json!({
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": true}},
            "storage": {"filesystem": {"rootdirectory": storage}},
            "http": {"addr": "127.0.0.1:0"},
        });
        if transport == Transport::Tls {
            make_certificates(directory.path());
            config["http"]["tls"] = json!({
                "certificate": directory.path().join("server.pem"),
                "key": directory.path().join("server.key"),
            });
        }
        match guard {
            Guard::Open => {}
            Guard::Basic => {
                let htpasswd = directory.path().join("htpasswd");
                fs::write(&htpasswd, tool("htpasswd", &["-Bbn", USER, PASSWORD]))
                    .expect("htpasswd");
                config["auth"] = json!({"htpasswd": {"realm": "test", "path": htpasswd}});
            }
            Guard::Token => {
                make_certificates(directory.path());
                config["auth"] = json!({"token": {
                    "realm": TokenService::start(directory.path()),
                    "service": "test registry, with a comma",
                    "issuer": "test issuer",
                    "rootcertbundle": directory.path().join("ca.pem"),
                }});
            }
        }
        // JSON is YAML.
        let config_path = directory.path().join("registry.yml");
        fs::write(&config_path, config.to_string()).expect("a writable temporary directory");
        let log = directory.path().join("log");
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config_path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("a log file"))
            .spawn()
            .expect("docker-registry starts");
        let mut registry = Registry {
            process,
            directory,
            address: String::new(),
            transport,
        };
        registry.address = registry.wait_for_address(&log);
        registry
    }

    /// Reads from the log which port the system gave.
    fn wait_for_address(&mut self, log: &Path) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let text = fs::read_to_string(log).expect("the log");
            if let Some((_, rest)) = text.split_once("listening on ") {
                return rest
                    .split([',', '"', ' ', '\n'])
                    .next()
                    .unwrap_or(rest)
                    .to_string();
            }
            let ended = self.process.try_wait().expect("the registry's state");
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "docker-registry: {text}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A reference to a repository here, as a user types it: `http://` stands where it is needed.
    pub fn reference(&self, name: &str) -> String {
        match self.transport {
            Transport::Http => format!("http://{}/{name}", self.address),
            Transport::Tls => format!("{}/{name}", self.address),
        }
    }

    /// The certificate of the CA behind the registry's.
    pub fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// The URL under which credentials for it are kept.
    pub fn url(&self) -> String {
        match self.transport {
            Transport::Http => format!("http://{}", self.address),
            Transport::Tls => format!("https://{}", self.address),
        }
    }

    /// Fills it from an OCI layout.
    pub fn push(&self, layout: &Path, tag: &str, name: &str) {
        tool(
            "skopeo",
            &[
                "--insecure-policy",
                "copy",
                "--quiet",
                "--dest-tls-verify=false",
                &format!("oci:{}:{tag}", layout.display()),
                &format!("docker://{}/{name}", self.address),
            ],
        );
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a tool that must succeed and returns what it prints.
pub fn tool(name: &str, args: &[&str]) -> Vec<u8> {
    let output = Command::new(name)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(
        output.status.success(),
        "{name} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Makes `ca.pem`, and `server.pem` with `server.key` signed by it for the loopback address.
fn make_certificates(directory: &Path) {
    let at = |name: &str| directory.join(name).display().to_string();
    fs::write(
        at("extensions"),
        "subjectAltName=IP:127.0.0.1,DNS:localhost",
    )
    .expect("a writable directory");
    tool(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=test CA",
            "-keyout",
            &at("ca.key"),
            "-out",
            &at("ca.pem"),
        ],
    );
    tool(
        "openssl",
        &[
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=127.0.0.1",
            "-keyout",
            &at("server.key"),
            "-out",
            &at("server.csr"),
        ],
    );
    tool(
        "openssl",
        &[
            "x509",
            "-req",
            "-in",
            &at("server.csr"),
            "-CA",
            &at("ca.pem"),
            "-CAkey",
            &at("ca.key"),
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            &at("extensions"),
            "-out",
            &at("server.pem"),
        ],
    );
}

/// Hands out tokens that `docker-registry` accepts, to those who know the password.
///
/// Source: the distribution project's token authentication specification.
struct TokenService {
    directory: PathBuf,
}

impl TokenService {
    /// Starts it on a thread that lives as long as the test and returns its address.
    fn start(directory: &Path) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let service = TokenService {
            directory: directory.to_path_buf(),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away is none of the test's business.
                let _ = service.answer(stream);
            }
        });
        format!("http://{address}/token")
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        let expected = STANDARD.encode(format!("{USER}:{PASSWORD}"));
        let mut is_known = false;
        for line in lines
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
        {
            if let Some((name, value)) = line.split_once(':') {
                is_known |= name.eq_ignore_ascii_case("authorization")
                    && value
                        .trim()
                        .split_once(' ')
                        .is_some_and(|(scheme, credentials)| {
                            scheme.eq_ignore_ascii_case("basic") && credentials == expected
                        });
            }
        }
        let target = request.split(' ').nth(1).unwrap_or_default();
        let (status, body) = if is_known {
            (
                "200 OK",
                json!({"access_token": self.token(target), "expires_in": 300}).to_string(),
            )
        } else {
            (
                "401 Unauthorized",
                json!({"details": "wrong credentials"}).to_string(),
            )
        };
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    /// A JSON web token for the scopes asked for in `target`, signed with the server's key.
    fn token(&self, target: &str) -> String {
        let query = url::Url::parse("http://token.service").and_then(|base| base.join(target));
        let query = query.expect("the target of a request");
        let access: Vec<_> = query
            .query_pairs()
            .filter(|(key, _)| key == "scope")
            .filter_map(|(_, scope)| {
                let (kind, rest) = scope.split_once(':')?;
                let (name, actions) = rest.rsplit_once(':')?;
                let actions: Vec<_> = actions.split(',').map(str::to_string).collect();
                Some(json!({"type": kind, "name": name, "actions": actions}))
            })
            .collect();
        let pem = fs::read_to_string(self.directory.join("server.pem")).expect("the certificate");
        let certificate: String = pem
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .collect();
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("a clock after 1970")
            .as_secs();
        let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [certificate]});
        let claims = json!({
            "iss": "test issuer", "sub": USER, "aud": "test registry, with a comma",
            "exp": now + 300, "nbf": now - 10, "iat": now, "jti": "1", "access": access,
        });
        let encode = |text: &[u8]| URL_SAFE_NO_PAD.encode(text);
        let signed = format!(
            "{}.{}",
            encode(header.to_string().as_bytes()),
            encode(claims.to_string().as_bytes())
        );
        let file = self.directory.join("to-sign");
        fs::write(&file, &signed).expect("a writable directory");
        let key = self.directory.join("server.key");
        let signature = tool(
            "openssl",
            &[
                "dgst",
                "-sha256",
                "-sign",
                &key.display().to_string(),
                &file.display().to_string(),
            ],
        );
        format!("{signed}.{}", encode(&signature))
    }
}
