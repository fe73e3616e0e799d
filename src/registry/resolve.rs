//! From a name and a platform to one image.

use std::collections::{BTreeSet, HashSet};

use reqwest::StatusCode;

use crate::oci::{
    CONFIG_MAX_BYTES, ConfigSource, Digest, ImageConfig, Index, Manifest, ManifestError, MediaType,
    ParsedManifest, Platform, RegistryUrl, TagOrDigest,
};

use super::{Client, FetchedManifest, RegistryError};

/// Most levels of nested indexes; no tool makes more than two.
const DEPTH_MAX: usize = 4;

/// Most manifests that are fetched in search of a platform.
const MANIFESTS_MAX: usize = 64;

/// Most platforms that an error lists.
const PLATFORMS_MAX: usize = 64;

/// An image found at a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedImage {
    /// The first of the candidates that the registry has.
    pub repository: String,
    /// The manifest, as the registry sent it.
    pub bytes: Vec<u8>,
    /// The parsed manifest.
    pub manifest: Manifest,
    /// The platform that an index or the configuration names, if an index was searched.
    pub platform: Option<Platform>,
}

impl Client {
    /// Finds the image for `platform`.
    ///
    /// `repositories` are candidates, tried in order: the next one is tried if the registry does
    /// not have the one before, or does not show it. Indexes are searched, nested ones too; for
    /// entries without a platform, the image's configuration is read. An image without an index is
    /// returned whatever its platform is.
    ///
    /// # Errors
    /// `NoSuchPlatform`, with the platforms that exist; else as [`Client::fetch_manifest`].
    pub fn resolve_image(
        &self,
        registry: &RegistryUrl,
        repositories: &[String],
        tag_or_digest: &TagOrDigest,
        platform: &Platform,
    ) -> Result<ResolvedImage, RegistryError> {
        let (repository, fetched) = self.find_manifest(registry, repositories, tag_or_digest)?;
        IndexWalk::new(self, registry, repository, platform).start(fetched, tag_or_digest)
    }

    /// Fetches the manifest or index of a tag or digest, and returns it with the first of
    /// `repositories` that has it.
    ///
    /// # Errors
    /// As [`Client::fetch_manifest`], with the most informative error.
    pub fn find_manifest<'a>(
        &self,
        registry: &RegistryUrl,
        repositories: &'a [String],
        tag_or_digest: &TagOrDigest,
    ) -> Result<(&'a str, FetchedManifest), RegistryError> {
        first_present(repositories, |repository, candidate| {
            self.fetch_candidate(registry, repository, tag_or_digest, candidate)
        })
        .map_err(|error| {
            error.unwrap_or_else(|| RegistryError::NoSuchManifest {
                registry: registry.clone(),
                repository: String::new(),
                tag_or_digest: tag_or_digest.clone(),
                message: String::new(),
            })
        })
    }
}

/// The position of a name among the candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Candidate {
    /// More candidates follow.
    NotLast,
    /// No candidate follows.
    Last,
}

impl Candidate {
    /// Returns which statuses end the request at once. A registry that is a proxy of another one
    /// may answer 500 for an absent image. Other temporary failures are retried: they must not lead
    /// to a different image.
    pub(super) fn final_statuses(self) -> fn(StatusCode) -> bool {
        match self {
            Candidate::NotLast => |status| status == StatusCode::INTERNAL_SERVER_ERROR,
            Candidate::Last => |_| false,
        }
    }
}

/// Requests each of `repositories` in turn, until one exists.
///
/// # Errors
/// The most informative error: the first definite answer. `None` if `repositories` is empty.
pub(super) fn first_present<T>(
    repositories: &[String],
    ask: impl Fn(&str, Candidate) -> Result<T, RegistryError>,
) -> Result<(&str, T), Option<RegistryError>> {
    let mut best: Option<RegistryError> = None;
    for (at, repository) in repositories.iter().enumerate() {
        let candidate = match at + 1 == repositories.len() {
            true => Candidate::Last,
            false => Candidate::NotLast,
        };
        let error = match ask(repository, candidate) {
            Ok(found) => return Ok((repository, found)),
            Err(error) => error,
        };
        let goes_on = match candidate {
            Candidate::NotLast => error.may_be_absent(),
            Candidate::Last => error.is_absent(),
        };
        if !goes_on {
            return Err(Some(error));
        }
        if !best.as_ref().is_some_and(|best| best.is_definite()) {
            best = Some(error);
        }
    }
    Err(best)
}

/// The search for a platform in an index.
struct IndexWalk<'a> {
    client: &'a Client,
    registry: &'a RegistryUrl,
    repository: &'a str,
    wanted: &'a Platform,
    seen: HashSet<Digest>,
    available: BTreeSet<String>,
    best: Option<(u32, Found)>,
}

struct Found {
    bytes: Vec<u8>,
    manifest: Manifest,
    platform: Option<Platform>,
}

impl<'a> IndexWalk<'a> {
    fn new(
        client: &'a Client,
        registry: &'a RegistryUrl,
        repository: &'a str,
        wanted: &'a Platform,
    ) -> IndexWalk<'a> {
        IndexWalk {
            client,
            registry,
            repository,
            wanted,
            seen: HashSet::new(),
            available: BTreeSet::new(),
            best: None,
        }
    }

    fn start(
        mut self,
        fetched: FetchedManifest,
        tag_or_digest: &TagOrDigest,
    ) -> Result<ResolvedImage, RegistryError> {
        match self.explained(fetched.parse(), tag_or_digest)? {
            ParsedManifest::Image(manifest) => {
                self.best = Some((
                    0,
                    Found {
                        bytes: fetched.bytes,
                        manifest,
                        platform: None,
                    },
                ));
            }
            ParsedManifest::Index(index) => {
                self.seen.insert(fetched.digest);
                drop(fetched.bytes);
                self.walk(&index, 1)?;
            }
        }
        let repository = self.repository.to_string();
        let Some((_, found)) = self.best else {
            return Err(RegistryError::NoSuchPlatform {
                repository,
                wanted: self.wanted.clone(),
                available: self.available.into_iter().collect(),
            });
        };
        Ok(ResolvedImage {
            repository,
            bytes: found.bytes,
            manifest: found.manifest,
            platform: found.platform,
        })
    }

    fn walk(&mut self, index: &Index, depth: usize) -> Result<(), RegistryError> {
        for platform in index.platforms() {
            self.note(&platform);
        }
        for entry in index.candidates(self.wanted) {
            let distance = entry
                .platform
                .as_ref()
                .and_then(|platform| self.wanted.distance(platform));
            // Candidates are sorted, so after a match only an entry without a platform can be
            // better.
            let is_beaten = match (&self.best, distance) {
                (Some((best, _)), Some(distance)) => *best <= distance,
                (Some((best, _)), None) => *best < u32::MAX,
                (None, _) => false,
            };
            let digest = &entry.descriptor.digest;
            if is_beaten || self.seen.len() >= MANIFESTS_MAX || !self.seen.insert(digest.clone()) {
                continue;
            }
            let tag_or_digest = TagOrDigest::Digest(digest.clone());
            let mut fetched =
                self.client
                    .fetch_manifest(self.registry, self.repository, &tag_or_digest)?;
            // The index is more reliable than a server that names a generic media type.
            if let None | Some(MediaType::Other(_)) = fetched.media_type {
                fetched.media_type = Some(entry.descriptor.media_type.clone());
            }
            let parsed = match fetched.parse() {
                // Entries without a platform may be signatures and other artifacts.
                Err(error) if entry.platform.is_none() && error.is_of_no_image() => continue,
                parsed => self.explained(parsed, &tag_or_digest)?,
            };
            match parsed {
                ParsedManifest::Index(_) if depth >= DEPTH_MAX => {
                    return Err(RegistryError::IndexTooDeep {
                        repository: self.repository.to_string(),
                        digest: digest.clone(),
                    });
                }
                ParsedManifest::Index(nested) => {
                    drop(fetched);
                    self.walk(&nested, depth + 1)?;
                }
                ParsedManifest::Image(manifest) => {
                    let platform = match &entry.platform {
                        Some(platform) => Some(platform.clone()),
                        None => self.platform_of(&manifest)?,
                    };
                    self.consider(fetched.bytes, manifest, platform);
                }
            }
        }
        Ok(())
    }

    /// Notes an existing platform for the error.
    fn note(&mut self, platform: &str) {
        if self.available.len() < PLATFORMS_MAX {
            let platform = self.client.transport.shown(platform);
            self.available.insert(platform);
        }
    }

    fn consider(&mut self, bytes: Vec<u8>, manifest: Manifest, platform: Option<Platform>) {
        let distance = match &platform {
            // Neither the index nor the image names a platform, so the image is the last resort.
            None => Some(u32::MAX),
            Some(platform) => {
                self.note(&platform.to_string());
                self.wanted.distance(platform)
            }
        };
        let Some(distance) = distance else { return };
        if self.best.as_ref().is_none_or(|(best, _)| distance < *best) {
            let found = Found {
                bytes,
                manifest,
                platform,
            };
            self.best = Some((distance, found));
        }
    }

    fn platform_of(&self, manifest: &Manifest) -> Result<Option<Platform>, RegistryError> {
        let bytes = match &manifest.config {
            ConfigSource::Inline(text) => text.clone().into_bytes(),
            ConfigSource::Blob(descriptor) => {
                if descriptor.size.is_none_or(|size| size > CONFIG_MAX_BYTES) {
                    return Ok(None);
                }
                self.client
                    .fetch_small_blob(self.registry, self.repository, descriptor)?
            }
        };
        Ok(ImageConfig::parse(&bytes)
            .ok()
            .and_then(|config| config.platform))
    }

    fn explained(
        &self,
        parsed: Result<ParsedManifest, ManifestError>,
        tag_or_digest: &TagOrDigest,
    ) -> Result<ParsedManifest, RegistryError> {
        parsed.map_err(|source| RegistryError::Manifest {
            registry: self.registry.clone(),
            repository: self.repository.to_string(),
            tag_or_digest: tag_or_digest.clone(),
            reason: self.client.transport.shown(&source.to_string()),
        })
    }
}
