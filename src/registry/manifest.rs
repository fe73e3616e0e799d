//! Manifests: their bytes, and the digests that name them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::StatusCode;
use serde::Deserialize;

use crate::oci::{
    Digest, MANIFEST_MAX_BYTES, ManifestError, MediaType, ParsedManifest, RegistryUrl, TagOrDigest,
};

use super::auth::Scope;
use super::client::endpoint;
use super::resolve::Candidate;
use super::transport::{Request, Response};
use super::{Client, RegistryError};

/// A manifest or index in the form that the registry sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedManifest {
    /// The media type that the registry names.
    pub media_type: Option<MediaType>,
    /// The digest of the bytes, checked.
    pub digest: Digest,
    /// The bytes of the document.
    pub bytes: Vec<u8>,
}

impl FetchedManifest {
    /// Parses the document.
    ///
    /// # Errors
    /// It is neither an image manifest nor an index.
    pub fn parse(&self) -> Result<ParsedManifest, ManifestError> {
        ParsedManifest::parse(&self.bytes, self.media_type.as_ref())
    }
}

impl Client {
    /// Fetches a manifest or index.
    ///
    /// Its digest is computed, and compared with the requested one and the one that the registry
    /// announces.
    ///
    /// # Errors
    /// `NoSuchManifest` if the registry does not have it, `ManifestDigest` if the bytes do not have
    /// the digest; else as for any request.
    pub fn fetch_manifest(
        &self,
        registry: &RegistryUrl,
        repository: &str,
        tag_or_digest: &TagOrDigest,
    ) -> Result<FetchedManifest, RegistryError> {
        self.fetch_candidate(registry, repository, tag_or_digest, Candidate::Last)
    }

    pub(super) fn fetch_candidate(
        &self,
        registry: &RegistryUrl,
        repository: &str,
        tag_or_digest: &TagOrDigest,
        candidate: Candidate,
    ) -> Result<FetchedManifest, RegistryError> {
        let scope = Scope::Repository(repository);
        let path = format!("/v2/{repository}/manifests/{tag_or_digest}");
        let accept = MediaType::ACCEPTED_MANIFESTS
            .iter()
            .map(MediaType::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        let mut response = self.send(registry, scope, &|base| Request {
            accept: Some(accept.clone()),
            is_final: candidate.final_statuses(),
            ..Request::get(endpoint(base, &path))
        })?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(RegistryError::NoSuchManifest {
                registry: registry.clone(),
                repository: repository.to_string(),
                tag_or_digest: tag_or_digest.clone(),
                message: response.explanation(),
            });
        }
        let mut response = self.expect_success(registry, scope, response)?;
        let bytes = response.read_all(MANIFEST_MAX_BYTES)?;
        let media_type = response.header("content-type").map(MediaType::parse);
        let head = &bytes[..bytes.len().min(256)];
        response.refuse_web_page(media_type.as_ref().map(MediaType::as_str), head)?;
        let digest = self.checked_digest(repository, tag_or_digest, &response, &bytes)?;
        Ok(FetchedManifest {
            media_type,
            digest,
            bytes,
        })
    }

    fn checked_digest(
        &self,
        repository: &str,
        tag_or_digest: &TagOrDigest,
        response: &Response,
        bytes: &[u8],
    ) -> Result<Digest, RegistryError> {
        let check = |expected: &Digest| {
            let found = digest_of(bytes, expected);
            if found == *expected {
                Ok(())
            } else {
                Err(RegistryError::ManifestDigest {
                    repository: repository.to_string(),
                    expected: expected.clone(),
                    found,
                })
            }
        };
        // A digest with an algorithm that is unknown here cannot be checked.
        let announced: Option<Digest> = response
            .header("docker-content-digest")
            .and_then(|text| text.trim().parse().ok());
        if let Some(announced) = &announced {
            check(announced)?;
        }
        match tag_or_digest {
            TagOrDigest::Digest(wanted) => {
                check(wanted)?;
                Ok(wanted.clone())
            }
            TagOrDigest::Tag(_) => Ok(announced.unwrap_or_else(|| Digest::of(bytes))),
        }
    }
}

/// Hashes a manifest with the algorithm of `like`.
///
/// The digest of a signed schema 1 manifest is that of the signed payload, without the signatures.
/// It is returned if it equals `like`.
fn digest_of(bytes: &[u8], like: &Digest) -> Digest {
    let algorithm = like.algorithm();
    let whole = algorithm.digest(bytes);
    if whole == *like {
        return whole;
    }
    match signed_payload(bytes).map(|payload| algorithm.digest(&payload)) {
        Some(payload) if payload == *like => payload,
        _ => whole,
    }
}

/// Removes the signatures from a schema 1 manifest.
///
/// Source: Docker image manifest version 2, schema 1, "Signed Manifests": the payload is the
/// first `formatLength` bytes of the document followed by `formatTail`.
fn signed_payload(bytes: &[u8]) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Signed {
        signatures: Vec<Signature>,
    }
    #[derive(Deserialize)]
    struct Signature {
        protected: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Protected {
        format_length: usize,
        format_tail: String,
    }
    let signed: Signed = serde_json::from_slice(bytes).ok()?;
    let protected = URL_SAFE_NO_PAD
        .decode(&signed.signatures.first()?.protected)
        .ok()?;
    let protected: Protected = serde_json::from_slice(&protected).ok()?;
    let mut payload = bytes.get(..protected.format_length)?.to_vec();
    payload.extend(URL_SAFE_NO_PAD.decode(protected.format_tail).ok()?);
    Some(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_schema1_manifest_has_the_digest_of_its_payload() {
        let payload = b"{\n   \"schemaVersion\": 1\n}";
        let tail = URL_SAFE_NO_PAD.encode(&payload[payload.len() - 2..]);
        let protected = URL_SAFE_NO_PAD.encode(format!(
            r#"{{"formatLength":{},"formatTail":"{tail}"}}"#,
            payload.len() - 2
        ));
        let mut signed = payload[..payload.len() - 2].to_vec();
        signed.extend(format!(",\"signatures\":[{{\"protected\":\"{protected}\"}}]\n}}").bytes());
        let expected = Digest::of(payload);
        assert_eq!(digest_of(&signed, &expected), expected);
        let other = Digest::of(b"other");
        assert_eq!(digest_of(&signed, &other), Digest::of(&signed));
    }
}
