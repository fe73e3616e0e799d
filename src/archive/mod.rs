//! Archives of images: those of `docker save`, and OCI layouts.
//!
//! Reading: all files in the archive are first copied to files of the caller and hashed meanwhile
//! ([`read_tar`], [`read_directory`]), since the list of the images may come last, and the archive
//! through a pipe. No file is written under a name from the archive. Then [`images`] finds the
//! images:
//!
//! | file | form of the archive |
//! | --- | --- |
//! | `manifest.json` | that of `docker save`, `podman save` and `skopeo`; Docker 25 and later adds an OCI layout, which has less information |
//! | `index.json` | an OCI layout |
//! | `repositories` | that of Docker before 1.10: a chain of layers, each with its own `json` |
//!
//! Writing: [`write_archive`] writes the first form, and the third one beside it, which
//! `docker load`, `podman load`, `skopeo` and udocker.py read.
//!
//! Sources: Docker image specification v1.2, "Combined Image JSON + Filesystem Changeset Format";
//! OCI image-spec v1.1, "Image Layout".

mod contents;
mod docker;
mod error;
mod legacy;
mod oci_layout;
mod read;
mod write;

pub use contents::{Contents, Part};
pub use error::ArchiveError;
pub use read::{read_directory, read_tar};
pub use write::{SavedImage, SavedLayer, write_archive};

use crate::oci::Platform;

/// An image in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedImage {
    /// Its names as in the archive; nobody has checked them.
    pub names: Vec<ArchivedName>,
    /// The configuration.
    pub config: Part,
    /// The layers, base first.
    pub layers: Vec<Part>,
    /// The manifest, in OCI layouts.
    pub manifest: Option<Part>,
}

/// A name of an image in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchivedName {
    /// `repository:tag`, or the repository alone.
    Whole(String),
    /// The tag alone, in an OCI layout.
    Tag(String),
}

/// Finds the images in an archive. Of an image for several platforms, it takes the one for
/// `platform`.
///
/// # Errors
/// `ArchiveError::NoImages` or `TooMuch` if it has none or far too many; `Missing`, `WrongDigest`,
/// `Document`, `Manifest` or another one if a part of an image is missing or damaged.
pub fn images(
    contents: &Contents,
    platform: &Platform,
) -> Result<Vec<ArchivedImage>, ArchiveError> {
    let mut allowance = Allowance::default();
    let images = if contents.has("manifest.json") {
        docker::images(contents, &mut allowance)?
    } else if contents.has("index.json") {
        oci_layout::images(contents, platform, &mut allowance)?
    } else if contents.has("repositories") {
        legacy::images(contents, &mut allowance)?
    } else {
        return Err(ArchiveError::NoImages);
    };
    if images.is_empty() {
        return Err(ArchiveError::NoImages);
    }
    Ok(images)
}

/// How many images, names and layers one archive may still have. A short list can refer to the same
/// long list again and again.
struct Allowance {
    images: usize,
    names: usize,
    layers: usize,
}

impl Default for Allowance {
    fn default() -> Allowance {
        Allowance {
            images: IMAGES_MAX,
            names: NAMES_MAX,
            layers: LAYERS_MAX,
        }
    }
}

const IMAGES_MAX: usize = 1 << 10;
const NAMES_MAX: usize = 1 << 12;
const LAYERS_MAX: usize = 1 << 16;

impl Allowance {
    fn take_image(&mut self) -> Result<(), ArchiveError> {
        let left = self.images.checked_sub(1);
        self.images = left.ok_or(ArchiveError::TooMuch(IMAGES_MAX, "images"))?;
        Ok(())
    }

    fn take_names(&mut self, count: usize) -> Result<(), ArchiveError> {
        let left = self.names.checked_sub(count);
        self.names = left.ok_or(ArchiveError::TooMuch(NAMES_MAX, "names"))?;
        Ok(())
    }

    fn take_layers(&mut self, count: usize) -> Result<(), ArchiveError> {
        let left = self.layers.checked_sub(count);
        self.layers = left.ok_or(ArchiveError::TooMuch(LAYERS_MAX, "layers"))?;
        Ok(())
    }
}
