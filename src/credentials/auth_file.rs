//! Credential files of Podman and Docker.
//!
//! ```json
//! {"auths": {"quay.io": {"auth": "base64 of user:password"},
//!            "https://index.docker.io/v1/": {"identitytoken": "…"}},
//!  "credHelpers": {"gcr.io": "gcloud"},
//!  "credsStore": "secretservice"}
//! ```
//!
//! Sources: containers-auth.json(5); the Docker command line's configuration file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use crate::host::fs::read_named;
use crate::oci::{Credential, FoundCredential, RegistryUrl, Secret};

use super::CredentialsError;
use super::helper::Helpers;
use super::key::{Key, helper_server, host_place, repository_places};
use super::sources::AuthFilePath;

/// Largest credential file, in bytes.
pub(super) const FILE_MAX_BYTES: u64 = 4 << 20;

/// The decoder ignores padding, since some tools leave it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The content of a credential file.
pub(super) struct AuthFile {
    path: PathBuf,
    content: Content,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Content {
    /// Some tools leave `null` behind where they deleted a value.
    auths: Option<BTreeMap<String, Option<LoginEntry>>>,
    cred_helpers: Option<BTreeMap<String, Option<String>>>,
    creds_store: Option<String>,
}

/// One login in a file.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct LoginEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

impl AuthFile {
    /// Reads a file; `None` if it does not exist.
    ///
    /// # Errors
    /// The file exists and cannot be read, or is malformed.
    pub(super) fn load(source: &AuthFilePath) -> Result<Option<AuthFile>, CredentialsError> {
        let path = &source.path;
        let bytes = match read_named(path, FILE_MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let content = if bytes.trim_ascii().is_empty() {
            Ok(Content::default())
        } else if source.is_legacy {
            serde_json::from_slice(&bytes).map(|auths| Content {
                auths,
                ..Content::default()
            })
        } else {
            serde_json::from_slice(&bytes)
        };
        let content = content.map_err(|error| CredentialsError::malformed(path, &error))?;
        Ok(Some(AuthFile {
            path: path.clone(),
            content,
        }))
    }

    /// Returns the login for `repository` at `registry`.
    ///
    /// An entry for a part of the registry takes precedence. For the whole registry, a helper does,
    /// since Docker leaves empty entries in the file beside it.
    pub(super) fn credential(
        &self,
        registry: &RegistryUrl,
        repository: &str,
        helpers: &Helpers,
    ) -> Result<Option<FoundCredential>, CredentialsError> {
        for place in repository_places(registry, repository) {
            if let Some(found) = self.entry(registry, &place)? {
                return Ok(Some(found));
            }
        }
        if let Some(found) = self.ask_helper(registry, helpers)? {
            return Ok(Some(found));
        }
        self.entry(registry, &host_place(registry))
    }

    fn entry(
        &self,
        registry: &RegistryUrl,
        place: &str,
    ) -> Result<Option<FoundCredential>, CredentialsError> {
        for (key, entry) in self.content.auths.iter().flatten() {
            if let Some(entry) = entry
                && Key::parse(key).covers(place, registry)
            {
                let credential = entry
                    .credential()
                    .map_err(|reason| CredentialsError::Entry {
                        path: self.path.clone(),
                        key: key.clone(),
                        reason,
                    })?;
                if let Some(credential) = credential {
                    return Ok(Some(FoundCredential {
                        credential,
                        origin: format!("'{}'", self.path.display()),
                    }));
                }
            }
        }
        Ok(None)
    }

    fn ask_helper(
        &self,
        registry: &RegistryUrl,
        helpers: &Helpers,
    ) -> Result<Option<FoundCredential>, CredentialsError> {
        let place = host_place(registry);
        let server = helper_server(registry);
        let own = self
            .content
            .cred_helpers
            .iter()
            .flatten()
            .filter_map(|(key, name)| Some((key, name.as_deref()?)))
            .find(|(key, _)| Key::parse(key).covers(&place, registry));
        match own {
            // An empty name means this file itself.
            Some((_, "")) => return Ok(None),
            Some((_, name)) => return helpers.get(name, server),
            None => {}
        }
        let Some(name) = self.content.creds_store.as_deref() else {
            return Ok(None);
        };
        match helpers.get(name, server) {
            // A file copied from a desktop names its helper for everything, public images too.
            Err(CredentialsError::HelperMissing { .. }) => Ok(None),
            answer => answer,
        }
    }
}

impl LoginEntry {
    /// Returns the login of the entry; `None` if it is empty.
    pub(super) fn credential(&self) -> Result<Option<Credential>, &'static str> {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = filled(&self.identitytoken) {
            return Ok(Some(Credential::IdentityToken(Secret::new(token))));
        }
        if let Some(auth) = filled(&self.auth) {
            return decode(&auth).map(Some);
        }
        Ok(match (filled(&self.username), filled(&self.password)) {
            (Some(username), Some(password)) => Some(Credential::Basic {
                username,
                password: Secret::new(password),
            }),
            _ => None,
        })
    }
}

/// Encodes user name and password in the format of the files.
pub(super) fn encode(username: &str, password: &Secret) -> String {
    BASE64.encode(format!("{username}:{}", password.expose()))
}

fn decode(auth: &str) -> Result<Credential, &'static str> {
    let bytes = BASE64
        .decode(auth.trim())
        .map_err(|_| "'auth' is not base64")?;
    let text = String::from_utf8(bytes).map_err(|_| "'auth' is not UTF-8")?;
    let (username, password) = text
        .split_once(':')
        .ok_or("'auth' has no colon between user and password")?;
    Ok(Credential::Basic {
        username: username.to_string(),
        // Old Docker clients padded the password with zero bytes.
        password: Secret::new(password.trim_end_matches('\0')),
    })
}
