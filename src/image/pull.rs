//! Pulling: from a registry into the store.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ImageError;
use crate::oci::{ConfigSource, Descriptor, Digest, ImageConfig, Platform, Reference, RegistryUrl};
use crate::progress::Progress;
use crate::registry::{BlobSink, Client, ResolvedImage};
use crate::store::{Image, StagedBlob, Staging, Store, StoreError};

/// Blobs fetched at the same time. More do not help on one connection to one server, and each
/// costs buffers.
const PARALLEL_DOWNLOADS: usize = 4;

/// How often blobs that others remove in between are fetched again.
const PUBLISH_TRIES: usize = 5;

/// What to pull.
#[derive(Clone, Copy, Debug)]
pub struct PullRequest<'a> {
    /// As the user typed it.
    pub reference: &'a Reference,
    /// For which platform.
    pub platform: &'a Platform,
    /// The registry for references without a host.
    pub default_registry: &'a RegistryUrl,
}

/// Pulls an image. Blobs that are in the store already are not fetched again.
///
/// # Errors
/// The registry does not have it or sends something else; the store cannot be written. What has
/// arrived whole stays and is used by the next try.
pub fn pull(
    store: &Store,
    client: &Client,
    request: &PullRequest<'_>,
    progress: &dyn Progress,
) -> Result<Image, ImageError> {
    store.ensure()?;
    let registry = request.reference.registry(request.default_registry);
    let repositories = request
        .reference
        .remote_repositories(request.default_registry);
    let resolved = client.resolve_image(
        &registry,
        &repositories,
        &request.reference.version(),
        request.platform,
    )?;
    let source = Source {
        client,
        registry: &registry,
        repository: &resolved.repository,
    };
    let blobs = wanted_blobs(&resolved);
    let digests: Vec<Digest> = blobs.iter().map(|blob| blob.digest.clone()).collect();
    let name = request.reference.local_name();
    for attempt in 1.. {
        fetch_all(store, &source, &blobs, progress)?;
        check_config(store, &resolved, request.platform)?;
        match store.publish_image(&name, &resolved.bytes, &digests) {
            Err(StoreError::BlobVanished(_)) if attempt < PUBLISH_TRIES => {}
            result => return Ok(result?),
        }
    }
    unreachable!("the loop ends by returning")
}

struct Source<'a> {
    client: &'a Client,
    registry: &'a RegistryUrl,
    repository: &'a str,
}

/// Every blob once, the configuration first: it is small, and without it the rest is useless.
fn wanted_blobs(resolved: &ResolvedImage) -> Vec<Descriptor> {
    let config = match &resolved.manifest.config {
        ConfigSource::Blob(descriptor) => Some(descriptor),
        ConfigSource::Inline(_) => None,
    };
    let mut seen = BTreeSet::new();
    config
        .into_iter()
        .chain(&resolved.manifest.layers)
        .filter(|descriptor| seen.insert(descriptor.digest.clone()))
        .cloned()
        .collect()
}

/// Fetches blobs, several at a time; the first failure ends the others at their next blob.
fn fetch_all(
    store: &Store,
    source: &Source<'_>,
    blobs: &[Descriptor],
    progress: &dyn Progress,
) -> Result<(), ImageError> {
    let queue = Mutex::new(blobs.iter());
    let failed = AtomicBool::new(false);
    let work = || -> Result<(), ImageError> {
        while !failed.load(Ordering::Relaxed) {
            let next = queue.lock().map(|mut queue| queue.next()).unwrap_or(None);
            let Some(blob) = next else { break };
            fetch(store, source, blob, progress)
                .inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..PARALLEL_DOWNLOADS.min(blobs.len()))
            .map(|_| scope.spawn(work))
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
    })
}

fn fetch(
    store: &Store,
    source: &Source<'_>,
    blob: &Descriptor,
    progress: &dyn Progress,
) -> Result<(), ImageError> {
    if store.blobs().contains(&blob.digest) {
        return Ok(());
    }
    let Staging::Needed(staged) = store.blobs().stage(&blob.digest)? else {
        return Ok(());
    };
    let label = format!("downloading {}", blob.digest.short());
    let task = progress.begin(&label, blob.size);
    let mut sink = StoreSink(staged);
    source.client.fetch_blob(
        source.registry,
        source.repository,
        blob,
        &mut sink,
        task.as_ref(),
    )?;
    sink.0.publish()?;
    Ok(())
}

/// Lets the registry client write into the store; neither knows the other.
struct StoreSink(StagedBlob);

impl BlobSink for StoreSink {
    fn existing(&mut self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.0.existing()?))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn restart(&mut self) -> io::Result<()> {
        self.0.restart()
    }
}

/// Refuses an image whose configuration is damaged or for another platform, before it is listed.
fn check_config(
    store: &Store,
    resolved: &ResolvedImage,
    wanted: &Platform,
) -> Result<(), ImageError> {
    let ConfigSource::Blob(descriptor) = &resolved.manifest.config else {
        return Ok(());
    };
    let path = store.layout().blob(&descriptor.digest);
    let bytes = crate::host::fs::read_limited(&path, crate::store::CONFIG_MAX_BYTES)
        .map_err(StoreError::from)?;
    let config = ImageConfig::parse(&bytes).map_err(|source| ImageError::Config {
        digest: descriptor.digest.clone(),
        source,
    })?;
    match &config.platform {
        Some(found) if wanted.distance(found).is_none() => Err(ImageError::Platform {
            wanted: wanted.to_string(),
            found: found.to_string(),
        }),
        _ => Ok(()),
    }
}
