//! Pulling: from a registry into the store.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use super::{Downloads, ImageError};
use crate::host::fs::read_limited;
use crate::host::space::{self, Need, Room};
use crate::oci::{
    CONFIG_MAX_BYTES, ConfigSource, Descriptor, Digest, ImageConfig, Platform, Reference,
    RegistryUrl,
};
use crate::progress::Progress;
use crate::registry::{BlobSink, Client, ResolvedImage};
use crate::store::{Image, StagedBlob, Staging, Store, StoreError};

/// How many blobs are downloaded at the same time. More do not help on one connection to one
/// server, and each needs buffers.
const PARALLEL_DOWNLOADS: usize = 4;

/// How often a pull is tried whose blobs other processes remove before it is done.
const PUBLISH_TRIES: usize = 5;

/// What to pull.
#[derive(Clone, Copy, Debug)]
pub struct PullRequest<'a> {
    /// The image, as the user typed it.
    pub reference: &'a Reference,
    /// The platform, if the user asked for one. Else that of this machine is preferred, and an
    /// image that is for another one is pulled with a warning, as by Docker.
    pub platform: Option<&'a Platform>,
    /// The registry for references without a host.
    pub default_registry: &'a RegistryUrl,
    /// The directory in which the layers are unpacked at once, if they are, which has to have room
    /// for them too.
    pub unpacked_in: Option<&'a Path>,
}

/// Pulls an image. Blobs that are in the store already are not downloaded again. The progress of
/// the others is announced in `downloads`.
///
/// # Errors
/// `ImageError::Registry` if the registry does not have the image, sends wrong bytes or cannot be
/// reached; `Config` or `Platform` if the configuration does not fit; `Store` if the store cannot
/// be written. Blobs that are complete stay, and the next try uses them.
pub fn pull(
    store: &Store,
    client: &Client,
    request: &PullRequest<'_>,
    downloads: &Downloads,
    progress: &dyn Progress,
) -> Result<Image, ImageError> {
    // Readers of the downloads must not wait for ever, however this function ends.
    let _end = EndOnDrop(downloads);
    store.ensure()?;
    let _pulling = store.begin_pull()?;
    let name = request.reference.local_name();
    store.ensure_possible(&name)?;
    let registry = request.reference.registry(request.default_registry);
    let repositories = request
        .reference
        .remote_repositories(request.default_registry);
    let host = Platform::host();
    let resolved = client.resolve_image(
        &registry,
        &repositories,
        &request.reference.tag_or_digest(),
        request.platform.unwrap_or(&host),
    )?;
    let mut pull = Pull {
        store,
        client,
        registry: &registry,
        repository: &resolved.repository,
        downloads,
        progress,
        failure: OnceLock::new(),
    };
    let layers = unique(&resolved.manifest.layers);
    let mut digests: Vec<Digest> = layers.iter().map(|layer| layer.digest.clone()).collect();
    if let ConfigSource::Blob(config) = &resolved.manifest.config {
        digests.push(config.digest.clone());
    }
    let mut tries = PUBLISH_TRIES;
    loop {
        tries -= 1;
        pull.fetch_config(&resolved, request.platform)?;
        let mut needs = vec![(store.layout().layers.as_path(), pull.need(&layers))];
        let unpacked_in = request.unpacked_in.into_iter();
        needs.extend(unpacked_in.map(|directory| (directory, least_unpacked(&layers))));
        space::require_all(&needs).map_err(StoreError::from)?;
        pull.fetch_all(&layers)?;
        match store.publish_image(&name, &resolved.bytes, &digests) {
            Err(StoreError::BlobVanished(_)) if tries > 0 => {}
            result => return Ok(result?),
        }
    }
}

struct EndOnDrop<'a>(&'a Downloads);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The layers without repetitions: some images have a layer twice.
fn unique(layers: &[Descriptor]) -> Vec<&Descriptor> {
    let mut seen = BTreeSet::new();
    layers
        .iter()
        .filter(|layer| seen.insert(&layer.digest))
        .collect()
}

/// The least room that the unpacked layers take, see `container::create`.
fn least_unpacked(layers: &[&Descriptor]) -> Need {
    let is_compressed = |layer: &&&Descriptor| !layer.media_type.as_str().ends_with(".tar");
    let sizes = layers
        .iter()
        .filter(is_compressed)
        .filter_map(|layer| layer.size);
    Need {
        bytes: sizes.max().unwrap_or(0),
        files: 0,
    }
}

struct Pull<'a> {
    store: &'a Store,
    client: &'a Client,
    registry: &'a RegistryUrl,
    repository: &'a str,
    downloads: &'a Downloads,
    progress: &'a dyn Progress,
    /// Why the first of the downloads failed, which ends the others.
    failure: OnceLock<ImageError>,
}

impl Pull<'_> {
    /// Fetches the configuration, and refuses one that is invalid or for another platform than the
    /// user asked for, before the layers are fetched.
    fn fetch_config(
        &self,
        resolved: &ResolvedImage,
        asked_for: Option<&Platform>,
    ) -> Result<(), ImageError> {
        let ConfigSource::Blob(descriptor) = &resolved.manifest.config else {
            return Ok(());
        };
        let invalid = |source| ImageError::Config {
            digest: descriptor.digest.clone(),
            source,
        };
        let too_large = || {
            let reason = format!("it is larger than {CONFIG_MAX_BYTES} bytes");
            invalid(serde::de::Error::custom(reason))
        };
        if descriptor.size.is_some_and(|size| size > CONFIG_MAX_BYTES) {
            return Err(too_large());
        }
        let bytes = match self.read_config(descriptor) {
            Err(ImageError::Store(StoreError::Fs(error)))
                if error.source.kind() == ErrorKind::FileTooLarge =>
            {
                return Err(too_large());
            }
            read => read?,
        };
        let config = ImageConfig::parse(&bytes).map_err(invalid)?;
        // The platform in an index outweighs the one in the configuration, which some builders
        // leave at that of their own machine.
        let wanted = asked_for.cloned().unwrap_or_else(Platform::host);
        if resolved.platform.is_none()
            && let Some(found) = &config.platform
            && wanted.distance(found).is_none()
        {
            let error = ImageError::Platform {
                wanted: wanted.to_string(),
                found: found.to_string(),
            };
            if asked_for.is_some() {
                return Err(error);
            }
            self.progress.warning(&error.to_string());
        }
        let layers = resolved.manifest.layers.iter();
        let layers: Vec<Digest> = layers.map(|layer| layer.digest.clone()).collect();
        self.downloads.announce_content(bytes, &layers);
        Ok(())
    }

    fn read_config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ImageError> {
        let (digest, size) = (&descriptor.digest, descriptor.size);
        let blobs = self.store.blobs();
        if let Some(bytes) = blobs.read_small(digest, size, CONFIG_MAX_BYTES)? {
            return Ok(bytes);
        }
        self.fetch(descriptor)?;
        let path = self.store.layout().blob(digest);
        Ok(read_limited(&path, CONFIG_MAX_BYTES).map_err(StoreError::from)?)
    }

    /// The room that the missing blobs take, without the bytes that an earlier try has left.
    fn need(&self, blobs: &[&Descriptor]) -> Need {
        let missing = |blob: &&&Descriptor| !self.store.blobs().contains(&blob.digest, blob.size);
        let left = |blob: &Descriptor| {
            let staged = self.store.blobs().staged_bytes(&blob.digest);
            blob.size.unwrap_or(0).saturating_sub(staged)
        };
        let missing = blobs.iter().filter(missing);
        Need {
            files: missing.clone().count() as u64,
            bytes: missing.fold(0, |sum: u64, blob| sum.saturating_add(left(blob))),
        }
    }

    /// Fetches blobs, several at a time. The first failure ends all downloads.
    fn fetch_all(&mut self, blobs: &[&Descriptor]) -> Result<(), ImageError> {
        let queue = Mutex::new(blobs.iter());
        let pull = &*self;
        let work = || {
            while pull.failure.get().is_none() {
                let next = queue.lock().map(|mut queue| queue.next()).unwrap_or(None);
                let Some(blob) = next else { break };
                if let Err(error) = pull.fetch(blob) {
                    // There may be one already, with which this one has ended.
                    let _ = pull.failure.set(error);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..PARALLEL_DOWNLOADS.min(blobs.len()) {
                scope.spawn(work);
            }
        });
        self.failure.take().map_or(Ok(()), Err)
    }

    fn fetch(&self, blob: &Descriptor) -> Result<(), ImageError> {
        match self.store.blobs().stage(&blob.digest, blob.size)? {
            Staging::Present => {
                let message = format!("blob {} is in the repository already", blob.digest);
                self.progress.detail(&message);
            }
            Staging::Needed(staged) => self.download(blob, staged)?,
        }
        let path = self.store.layout().blob(&blob.digest);
        self.downloads.announce_whole(&blob.digest, &path);
        Ok(())
    }

    fn download(&self, blob: &Descriptor, staged: StagedBlob<'_>) -> Result<(), ImageError> {
        let label = format!("downloading {}", blob.digest.short());
        let task = self.progress.begin(&label, blob.size);
        let mut sink = StoreSink {
            staged,
            room: Room::at(&self.store.layout().layers),
            blob,
            downloads: self.downloads,
            failure: &self.failure,
        };
        self.client.fetch_blob(
            self.registry,
            self.repository,
            blob,
            &mut sink,
            task.as_ref(),
        )?;
        sink.staged.publish()?;
        Ok(())
    }
}

/// Writes the bytes from the registry client, which does not know the store, into a staged blob.
struct StoreSink<'a> {
    staged: StagedBlob<'a>,
    /// The room on the file system before the download.
    room: Room,
    blob: &'a Descriptor,
    downloads: &'a Downloads,
    failure: &'a OnceLock<ImageError>,
}

impl BlobSink for StoreSink<'_> {
    fn existing(&mut self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.staged.existing()?))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.staged
            .write_all(bytes)
            .map_err(|error| self.room.explain(error, self.blob.size))?;
        self.downloads
            .announce_bytes(&self.blob.digest, self.staged.path(), self.staged.len());
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        self.downloads.announce_restart(&self.blob.digest);
        self.staged.restart()
    }

    /// After the failure of another download, what is staged serves for the next try.
    fn is_wanted(&self) -> bool {
        self.failure.get().is_none()
    }
}
