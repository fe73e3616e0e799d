//! Verifying: whether the blobs of a stored image have their digests.

use std::fs::File;
use std::sync::Mutex;
use std::thread::available_parallelism;

use super::ImageError;
use crate::host::fs::FsError;
use crate::oci::{Algorithm, Digest};
use crate::progress::Progress;
use crate::rootfs::{self, Checked, Layer, RootfsError};
use crate::store::{Image, LayerFile};
use crate::stream::HashingReader;

/// How many layers are read at once, at most, since each takes some memory.
const MAX_WORKERS: usize = 8;

/// The result of verifying an image.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// The number of layers.
    pub layers: usize,
    /// The faults, one line each.
    pub faults: Vec<String>,
    /// The blobs that do not have their digests.
    pub damaged: Vec<Digest>,
}

/// Reads every blob of an image on all processors: compares digests with the manifest and diff_ids
/// with the configuration, and looks for entries that cannot be unpacked.
///
/// # Errors
/// `ImageError::Store` if the image's metadata cannot be read. Faults of its blobs are in the
/// report.
pub fn verify(image: &Image, progress: &dyn Progress) -> Result<VerifyReport, ImageError> {
    let content = image.content()?;
    let mut report = VerifyReport {
        layers: content.layers.len(),
        ..VerifyReport::default()
    };
    if let Some(expected) = &content.config_digest {
        let found = expected.algorithm().digest(&content.config_bytes);
        if found != *expected {
            let fault = format!("configuration {expected} has the content of {found}");
            report.faults.push(fault);
            report.damaged.push(expected.clone());
        }
    }
    let queue = Mutex::new(content.layers.iter());
    let found = Mutex::new(Vec::new());
    let workers = available_parallelism()
        .map_or(1, usize::from)
        .min(MAX_WORKERS);
    std::thread::scope(|scope| {
        for _ in 0..workers.min(content.layers.len()) {
            scope.spawn(|| {
                while let Some(layer) = queue.lock().map_or(None, |mut queue| queue.next()) {
                    if let Some(fault) = check_layer(layer, progress)
                        && let Ok(mut found) = found.lock()
                    {
                        found.push(fault);
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_default();
    found.sort();
    for (fault, damaged) in found {
        report.faults.push(fault);
        report.damaged.extend(damaged);
    }
    Ok(report)
}

/// Reads one layer to its end in one pass, both its stored and its uncompressed bytes. Returns its
/// fault, and its digest if the stored bytes do not have it.
fn check_layer(layer: &LayerFile, progress: &dyn Progress) -> Option<(String, Option<Digest>)> {
    let name = match &layer.digest {
        Some(digest) => digest.short().to_string(),
        None => layer
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
    };
    match read_layer(layer, &name, progress) {
        Err(error) => {
            let fault = format!("layer '{name}' cannot be read to its end: {error}");
            Some((fault, None))
        }
        // A wrong digest explains all other faults.
        Ok((_, stored))
            if layer
                .digest
                .as_ref()
                .is_some_and(|digest| *digest != stored) =>
        {
            let fault = format!("layer '{name}' has the content of {stored}");
            Some((fault, layer.digest.clone()))
        }
        Ok((unpacked, _)) => unpacked.err().map(|error| (error.to_string(), None)),
    }
}

/// Returns whether a layer can be unpacked, and the digest of its stored bytes.
fn read_layer(
    layer: &LayerFile,
    name: &str,
    progress: &dyn Progress,
) -> Result<(Result<Checked, RootfsError>, Digest), FsError> {
    let at = |action| FsError::at(action, &layer.path);
    let algorithm = layer
        .digest
        .as_ref()
        .map_or(Algorithm::Sha256, Digest::algorithm);
    let file = File::open(&layer.path).map_err(at("open"))?;
    let size = file.metadata().map_err(at("read"))?.len();
    let mut stored = HashingReader::new(file, algorithm);
    let archive = Layer {
        name: name.to_string(),
        source: Box::new(&mut stored),
        diff_id: layer.diff_id.clone(),
        size: Some(size),
    };
    let unpacked = rootfs::check_layer(archive, None, progress);
    // There may be more bytes behind the end of the compressed data, or behind a fault.
    let (digest, _) = stored.finish().map_err(at("read"))?;
    Ok((unpacked, digest))
}
