//! Creating: from an image in the store to a container.

use std::fs::File;

use super::{ContainerError, remove::discard};
use crate::host::fs::FsError;
use crate::progress::Progress;
use crate::rootfs::{self, Layer, Limits};
use crate::store::{
    Container, ContainerName, Image, ImageContent, StagedContainer, Store, StoreError,
};

/// How to create a container.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// Its name.
    pub name: Option<ContainerName>,
}

/// Creates a container: unpacks the layers, then publishes it under its id and name.
///
/// # Errors
/// The name is taken; the image is damaged; the disk is full. Nothing is left then.
pub fn create(
    store: &Store,
    image: &Image,
    options: &CreateOptions,
    progress: &dyn Progress,
) -> Result<Container, ContainerError> {
    // Opened at once, so that an image removed meanwhile still serves.
    let content = image.content()?;
    let layers = open_layers(&content)?;
    build(store, options.name.as_ref(), |staged| {
        fill(staged, image, &content, layers, progress)
    })
}

/// Makes a container: lets `fill` make what is in it, then publishes it under its id and `name`.
///
/// # Errors
/// The name is taken; `fill` fails. Nothing is left then.
pub(super) fn build(
    store: &Store,
    name: Option<&ContainerName>,
    fill: impl FnOnce(&StagedContainer) -> Result<(), ContainerError>,
) -> Result<Container, ContainerError> {
    if let Some(name) = name
        && store.has_name(name)
    {
        return Err(StoreError::NameTaken(name.to_string()).into());
    }
    store.ensure()?;
    super::sweep(store)?;
    let staged = store.stage_container()?;
    if let Err(error) = fill(&staged) {
        discard(&staged)?;
        return Err(error);
    }
    let container = store.publish_container(staged)?;
    if let Some(name) = name
        && let Err(error) = store.add_name(&container.id, name)
    {
        container.set_protected(false)?;
        super::remove(store, &container)?;
        return Err(error.into());
    }
    Ok(container)
}

fn open_layers(content: &ImageContent) -> Result<Vec<Layer<'static>>, FsError> {
    content
        .layers
        .iter()
        .map(|layer| {
            let file = File::open(&layer.path).map_err(FsError::at("open", &layer.path))?;
            let name = match &layer.digest {
                Some(digest) => digest.short().to_string(),
                None => {
                    let name = layer.path.file_stem().unwrap_or_default().to_string_lossy();
                    name.chars().take(12).collect()
                }
            };
            Ok(Layer {
                name,
                size: file.metadata().map(|meta| meta.len()).ok(),
                source: Box::new(file),
                diff_id: layer.diff_id.clone(),
            })
        })
        .collect()
}

fn fill(
    staged: &StagedContainer,
    image: &Image,
    content: &ImageContent,
    layers: Vec<Layer<'static>>,
    progress: &dyn Progress,
) -> Result<(), ContainerError> {
    let layers = layers.into_iter().map(Ok::<_, ContainerError>);
    rootfs::apply_layers(&staged.root(), layers, Limits::default(), progress)?;
    staged.write_metadata(&content.config_bytes, &image.name.to_string())?;
    Ok(())
}
