//! Credential helpers: `docker-credential-NAME get`, with the server's name on stdin.
//!
//! ```json
//! {"ServerURL": "quay.io", "Username": "me", "Secret": "…"}
//! ```
//!
//! Source: docker-credential-helpers, "Development".

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use serde::Deserialize;

use crate::host::process::output_with_input;
use crate::oci::{Credential, FoundCredential, Secret};

use super::CredentialsError;

/// The text that a helper prints if it has no login. It exits with a failure then.
const NOT_FOUND: &str = "credentials not found";

/// The user name that marks an identity token.
const TOKEN_USERNAME: &str = "<token>";

/// Longest time for an answer. A helper may ask the user to unlock a keyring; where nobody can see
/// the question, public images must still be pulled.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// Runs credential helpers.
pub(super) struct Helpers {
    search_path: Option<OsString>,
}

impl Helpers {
    pub(super) fn new(search_path: Option<OsString>) -> Helpers {
        Helpers { search_path }
    }

    /// Asks helper `name` for the login at `server`.
    ///
    /// # Errors
    /// The helper is not installed, cannot be run, fails, or sends a malformed answer.
    pub(super) fn get(
        &self,
        name: &str,
        server: &str,
    ) -> Result<Option<FoundCredential>, CredentialsError> {
        let program = format!("docker-credential-{name}");
        let path = self
            .find(&program)
            .ok_or_else(|| CredentialsError::HelperMissing {
                program: program.clone(),
            })?;
        let output = output_with_input(&path, &["get"], server.as_bytes(), ANSWER_LIMIT);
        let output = output.map_err(|source| match source.kind() {
            io::ErrorKind::TimedOut => CredentialsError::HelperFailed {
                program: program.clone(),
                reason: format!(
                    "it gave no answer within {} seconds",
                    ANSWER_LIMIT.as_secs()
                ),
            },
            _ => CredentialsError::HelperStart {
                program: program.clone(),
                source,
            },
        })?;
        let found = |credential| FoundCredential {
            credential,
            origin: format!("the credential helper '{program}'"),
        };
        match parse_answer(&output) {
            Ok(credential) => Ok(credential.map(found)),
            Err(reason) => Err(CredentialsError::HelperFailed { program, reason }),
        }
    }

    fn find(&self, program: &str) -> Option<PathBuf> {
        // A name with a slash would be run from any directory that it names.
        if program.contains('/') {
            return None;
        }
        which::which_in(program, self.search_path.as_ref(), "/").ok()
    }
}

fn parse_answer(output: &Output) -> Result<Option<Credential>, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        #[serde(default)]
        username: String,
        #[serde(default)]
        secret: String,
    }
    if !output.status.success() {
        let said = [&output.stdout, &output.stderr]
            .map(|bytes| String::from_utf8_lossy(bytes).trim().to_string());
        if said.iter().any(|text| text.contains(NOT_FOUND)) {
            return Ok(None);
        }
        // An answer may contain a secret, even if the helper reports failure.
        let line = said
            .iter()
            .find_map(|text| text.lines().next())
            .filter(|line| !line.contains('{'))
            .unwrap_or("it gave no reason");
        return Err(line.chars().filter(|c| !c.is_control()).take(200).collect());
    }
    // The answer contains a secret, so it is never quoted.
    let answer: Answer = serde_json::from_slice(&output.stdout)
        .map_err(|_| "its answer is not valid".to_string())?;
    Ok(match (answer.username.as_str(), answer.secret.as_str()) {
        (_, "") => None,
        (TOKEN_USERNAME, secret) => Some(Credential::IdentityToken(Secret::new(secret))),
        (username, secret) => Some(Credential::Basic {
            username: username.to_string(),
            password: Secret::new(secret),
        }),
    })
}
