//! Verifying: is a stored image what it says?

use std::fs::File;
use std::io;
use std::sync::Mutex;

use super::ImageError;
use crate::host::fs::FsError;
use crate::oci::{Algorithm, Digest};
use crate::progress::{Counted, Progress, Task};
use crate::store::{Image, LayerFile, StoreError};
use crate::stream::{HashingReader, decompress};

/// What a check found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// How many layers were read to their end.
    pub layers: usize,
    /// What is wrong, one line each.
    pub faults: Vec<String>,
}

/// Reads every blob of an image, and compares digests with the manifest and diff_ids with the
/// configuration, on all processors.
///
/// # Errors
/// The image's own metadata cannot be read; faults of its blobs are in the report.
pub fn verify(image: &Image, progress: &dyn Progress) -> Result<VerifyReport, ImageError> {
    let content = image.content()?;
    let mut faults = Vec::new();
    if let Some(expected) = &content.config_digest {
        let mut hasher = crate::oci::Hasher::new(expected.algorithm());
        hasher.update(&content.config_bytes);
        let found = hasher.finish();
        if found != *expected {
            faults.push(format!(
                "configuration {expected} has the content of {found}"
            ));
        }
    }
    let queue = Mutex::new(content.layers.iter());
    let found = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
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
    let mut layer_faults = found.into_inner().unwrap_or_default();
    layer_faults.sort();
    faults.extend(layer_faults);
    Ok(VerifyReport {
        layers: content.layers.len(),
        faults,
    })
}

/// Reads one layer to its end; returns what is wrong with it.
fn check_layer(layer: &LayerFile, progress: &dyn Progress) -> Option<String> {
    let name = layer
        .path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let size = layer.path.metadata().map(|meta| meta.len()).ok();
    let label = name.split(':').next_back().unwrap_or(&name);
    let label: String = label.chars().take(12).collect();
    let task = progress.begin(&format!("checking {label}"), size);
    match digests(layer, task.as_ref()) {
        Err(error) => Some(format!("layer {name} cannot be read to its end: {error}")),
        Ok((stored, unpacked)) => {
            let wrong_blob = layer
                .digest
                .as_ref()
                .filter(|expected| **expected != stored);
            let wrong_tree = layer
                .diff_id
                .as_ref()
                .filter(|expected| expected.0 != unpacked);
            if wrong_blob.is_some() {
                Some(format!("layer {name} has the content of {stored}"))
            } else {
                wrong_tree.map(|expected| {
                    format!("layer {name} unpacks to {unpacked}, the configuration says {expected}")
                })
            }
        }
    }
}

/// Hashes a layer as it is stored and as it unpacks, in one pass.
fn digests(layer: &LayerFile, task: &dyn Task) -> Result<(Digest, Digest), StoreError> {
    let at = |error: io::Error| StoreError::from(FsError::at("read", &layer.path)(error));
    let stored_algorithm = layer
        .digest
        .as_ref()
        .map_or(Algorithm::Sha256, Digest::algorithm);
    let unpacked_algorithm = layer
        .diff_id
        .as_ref()
        .map_or(Algorithm::Sha256, |diff_id| diff_id.0.algorithm());
    let file = File::open(&layer.path).map_err(at)?;
    let counted = Counted::new(file, task);
    let mut stored = HashingReader::new(counted, stored_algorithm);
    let unpacked = {
        let (_, plain) = decompress(&mut stored).map_err(at)?;
        HashingReader::new(plain, unpacked_algorithm)
            .finish()
            .map_err(at)?
            .0
    };
    let (stored, _) = stored.finish().map_err(at)?;
    Ok((stored, unpacked))
}
