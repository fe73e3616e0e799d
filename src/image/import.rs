//! Importing: from an archive of a root file system to an image of one layer.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use serde_json::{Value, json};

use super::ImageError;
use super::load::{check_tar, manifest_of, stage_bytes};
use super::tee::TeeReader;
use crate::archive::Part;
use crate::host::fs::FsError;
use crate::host::space::{self, Need, Room};
use crate::oci::{Algorithm, DiffId, LocalName, Platform};
use crate::progress::Progress;
use crate::rootfs::{self, Layer};
use crate::store::{Image, ImportStaging, NewBlob, NewImage, Store};
use crate::stream::copy_hashed;

/// The source of an archive.
pub enum ImportSource {
    /// The bytes, their name in messages, and their number, if that is known.
    Stream(Box<dyn Read + Send>, String, Option<u64>),
    /// A file, which is removed once its image is there. It is linked instead of copied where the
    /// file system allows it.
    Moved(PathBuf),
}

/// Imports an archive, compressed or not, as the image `name`.
///
/// # Errors
/// `ImageError::Rootfs` if it is no tar archive or has an entry that cannot be unpacked;
/// `NothingInside` if it is empty; `Fs` if it cannot be read or copied; `Store` if another image
/// has the name, or the store cannot be written. Nothing has changed then.
pub fn import(
    store: &Store,
    source: ImportSource,
    name: &LocalName,
    platform: &Platform,
    progress: &dyn Progress,
) -> Result<Image, ImageError> {
    let mut import_staging = store.import_staging()?;
    let (layer, diff_id, entries, moved) = match source {
        ImportSource::Stream(stream, label, size) => {
            let (layer, diff_id, entries) =
                copy(stream, label, size, &mut import_staging, progress)?;
            (layer, diff_id, entries, None)
        }
        ImportSource::Moved(path) => {
            // The file keeps its own name until the image is there.
            let linked = can_be_moved(&path).then(|| import_staging.link(&path));
            let (layer, diff_id, entries) = match linked {
                Some(Ok(place)) => {
                    let layer = examine(&path, place)?;
                    let (diff_id, entries) = check_tar(&layer, progress)?;
                    (layer, diff_id, entries)
                }
                _ => {
                    let file = File::open(&path).map_err(FsError::at("open", &path))?;
                    let label = path.display().to_string();
                    let size = file.metadata().ok().map(|meta| meta.len());
                    copy(file, label, size, &mut import_staging, progress)?
                }
            };
            (layer, diff_id, entries, Some(path))
        }
    };
    if entries == 0 {
        return Err(ImageError::NothingInside(layer.name.to_string()));
    }
    let config = stage_bytes(
        &imported_config(platform, Some(&diff_id)),
        &mut import_staging,
    )?;
    let manifest = manifest_of(&config, std::slice::from_ref(&layer))?;
    let new = NewImage {
        name: name.clone(),
        manifest: stage_bytes(&manifest, &mut import_staging)?.path,
        blobs: [config, layer]
            .into_iter()
            .map(|part| NewBlob {
                digest: part.digest,
                size: part.size,
                source: part.path,
            })
            .collect(),
    };
    let image = store.publish_new(&[new])?.remove(0);
    if let Some(path) = moved {
        crate::host::fs::remove_file(&path)?;
    }
    Ok(image)
}

/// Whether `path` is a file that can be removed afterwards. If it stayed, changes to it would
/// change the blob.
fn can_be_moved(path: &Path) -> bool {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file())
        && access(directory.unwrap_or(Path::new(".")), Access::WRITE_OK).is_ok()
}

/// Copies a stream into the staging directory and checks it as a layer meanwhile. Returns the file,
/// the digest of its uncompressed bytes and the number of its entries.
fn copy(
    source: impl Read + Send,
    label: String,
    size: Option<u64>,
    import_staging: &mut ImportStaging,
    progress: &dyn Progress,
) -> Result<(Part, DiffId, u64), ImageError> {
    let (path, file) = import_staging.file()?;
    let directory = path.parent().unwrap_or(Path::new("."));
    if let Some(bytes) = size {
        space::require(directory, Need { bytes, files: 0 })
            .map_err(|error| FsError::at("copy", Path::new(&label))(error.source))?;
    }
    let room = Room::at(directory);
    let copying =
        |error: io::Error| FsError::at("copy", Path::new(&label))(room.explain(error, size));
    let mut tee = TeeReader::new(source, file).map_err(copying)?;
    let layer = Layer {
        name: label.escape_debug().to_string(),
        source: Box::new(&mut tee),
        diff_id: None,
        size: None,
    };
    let checked = rootfs::check_layer(layer, Some(Algorithm::Sha256), progress);
    if let Some(failure) = tee.failure() {
        return Err(copying(failure).into());
    }
    let checked = checked?;
    let (size, compressed) = tee.finish().map_err(copying)?;
    let Some(diff_id) = checked.diff_id else {
        return Err(ImageError::NothingInside(label));
    };
    let digest = compressed.unwrap_or_else(|| diff_id.0.clone());
    let part = Part {
        name: label.into(),
        path,
        digest,
        size,
    };
    Ok((part, diff_id, checked.entries))
}

/// Hashes the file `path`, which has a hard link at `place`.
fn examine(path: &Path, place: PathBuf) -> Result<Part, ImageError> {
    let hash = || copy_hashed(&mut File::open(&place)?, &mut io::sink(), Algorithm::Sha256);
    let (digest, size) = hash().map_err(FsError::at("read", path))?;
    Ok(Part {
        name: path.display().to_string().into(),
        path: place,
        digest,
        size,
    })
}

/// The configuration of an imported image: only its platform is known. It has no time, so that the
/// same archive makes the same image each time.
pub fn imported_config(platform: &Platform, diff_id: Option<&DiffId>) -> Vec<u8> {
    let mut config = json!({
        "architecture": platform.architecture,
        "os": platform.os,
        "comment": "imported by udocker",
        "config": {},
    });
    if !platform.variant.is_empty() {
        config["variant"] = Value::from(platform.variant.as_str());
    }
    if let Some(diff_id) = diff_id {
        config["rootfs"] = json!({"type": "layers", "diff_ids": [diff_id]});
    }
    config.to_string().into_bytes()
}
