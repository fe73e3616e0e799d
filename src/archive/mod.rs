//! Images as archives: what `docker save` writes, and OCI layouts.
//!
//! Reading: everything in the archive is first put into files of the caller's and hashed on the
//! way ([`read_tar`], [`read_directory`]), since the list of what belongs to what may come last
//! and the archive through a pipe. Nothing is written under a name that the archive chooses.
//! [`images`] then finds out which images there are:
//!
//! | there is | so it is |
//! | --- | --- |
//! | `manifest.json` | what `docker save`, `podman save` and `skopeo` write; since Docker 25 with an OCI layout beside it, which says less |
//! | `index.json` | an OCI layout |
//! | `repositories` | what Docker before 1.10 wrote: a chain of layers, each with its own `json` |
//!
//! Writing: [`write_archive`] writes the first form with the third one beside it, which
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
    /// Its names as they stand there, `repository:tag` each; an OCI layout may say the tag alone.
    pub names: Vec<String>,
    /// The configuration.
    pub config: Part,
    /// The layers, base first.
    pub layers: Vec<Part>,
    /// The manifest as it is, where there is one: in OCI layouts.
    pub manifest: Option<Part>,
}

/// Finds the images in an archive. Where one is there for several platforms, it is the one for
/// `platform`.
///
/// # Errors
/// It holds none, or far too many, or one that lacks something or is not what its digest says.
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

/// What the images of one archive may consist of at the most: lists are short, and what they refer
/// to again and again is not.
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
