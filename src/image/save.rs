//! Saving: from the store to an archive.
//!
//! Layers are written as they are stored, compressed or not: all programs that read such archives
//! detect the compression, and the archive stays small.

use std::fs::File;
use std::io::Write;

use super::ImageError;
use super::load::with_diff_ids;
use crate::archive::{SavedImage, SavedLayer, write_archive};
use crate::host::fs::FsError;
use crate::oci::{Algorithm, DiffId, LocalName, Reference};
use crate::progress::Progress;
use crate::rootfs::{self, Layer};
use crate::store::{Form, Image, ImageContent, LayerFile};

/// Writes an archive of `images` and returns `out`.
///
/// # Errors
/// `ImageError::Store`, `Rootfs` or `Config` if an image is damaged; `Archive` if `out` cannot be
/// written.
pub fn save<W: Write>(images: &[Image], out: W, progress: &dyn Progress) -> Result<W, ImageError> {
    let images = images
        .iter()
        .map(|image| saved(image, progress))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(write_archive(&images, out)?)
}

fn saved(image: &Image, progress: &dyn Progress) -> Result<SavedImage, ImageError> {
    let content = image.content()?;
    let name = portable_name(&image.name);
    if name.is_none() {
        progress.note(&format!(
            "'{}' is saved without its name, which other programs do not take",
            image.name
        ));
    }
    Ok(SavedImage {
        name,
        config: complete_config(image, &content, progress)?,
        layers: content
            .layers
            .into_iter()
            .map(|layer| SavedLayer {
                id: layer_name(&layer),
                path: layer.path,
            })
            .collect(),
    })
}

/// The name, if registries and other programs allow it: without a digest as tag, and without upper
/// case.
fn portable_name(name: &LocalName) -> Option<LocalName> {
    let is_portable = name.to_string().parse::<Reference>().is_ok() && !name.tag.contains(':');
    is_portable.then(|| name.clone())
}

fn layer_name(layer: &LayerFile) -> String {
    let name = layer.path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The configuration with the diff_ids of all layers, which `load` compares. In form v1 and in
/// images made before 2016 they are missing, or are digests of the compressed layers.
fn complete_config(
    image: &Image,
    content: &ImageContent,
    progress: &dyn Progress,
) -> Result<Vec<u8>, ImageError> {
    let has_all = content.config.diff_ids.len() == content.layers.len();
    if image.form() == Form::V2 && has_all {
        return Ok(content.config_bytes.clone());
    }
    let found = content
        .layers
        .iter()
        .map(|layer| diff_id(layer, progress))
        .collect::<Result<Vec<DiffId>, _>>()?;
    if content.config.diff_ids == found {
        return Ok(content.config_bytes.clone());
    }
    with_diff_ids(&content.config_bytes, &found).map_err(|source| ImageError::Config {
        digest: crate::oci::Digest::of(&content.config_bytes),
        source,
    })
}

fn diff_id(layer: &LayerFile, progress: &dyn Progress) -> Result<DiffId, ImageError> {
    let file = File::open(&layer.path).map_err(FsError::at("open", &layer.path))?;
    let name = layer_name(layer);
    let checked = rootfs::check_layer(
        Layer {
            name: name.clone(),
            size: file.metadata().map(|meta| meta.len()).ok(),
            source: Box::new(file),
            diff_id: None,
        },
        Some(Algorithm::Sha256),
        progress,
    )?;
    checked.diff_id.ok_or(ImageError::NothingInside(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_docker_refuses_are_left_out() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (repository, tag, is_portable) in [
            ("busybox", "latest", true),
            ("localhost:5000/a/b", "1", true),
            ("IMPORTED", "unknown", false),
            ("a/b", &digest, false),
        ] {
            let name = LocalName {
                repository: repository.to_string(),
                tag: tag.to_string(),
            };
            assert_eq!(portable_name(&name).is_some(), is_portable, "{name}");
        }
    }
}
