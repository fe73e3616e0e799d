//! Creating: from an image to a container.

use std::fs::File;

use super::{ContainerError, remove::discard};
use crate::host::fs::FsError;
use crate::image::{self, Arrivals, ArrivingContent, PullRequest};
use crate::oci::LocalName;
use crate::progress::Progress;
use crate::registry::Client;
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
    begin(store, options)?;
    // Opened at once, so that an image removed meanwhile still serves.
    let content = image.content()?;
    let layers = open_layers(&content)?.into_iter().map(Ok);
    let staged = stage(store, &image.name, &content.config_bytes, layers, progress)?;
    publish(store, staged, options)
}

/// Pulls an image and creates a container of it at the same time: layers are unpacked while they
/// are still being downloaded. The container appears only after the image has.
///
/// # Errors
/// Those of the pull and of [`create`]. No container is left then.
pub fn pull_and_create(
    store: &Store,
    client: &Client,
    request: &PullRequest<'_>,
    options: &CreateOptions,
    progress: &dyn Progress,
) -> Result<Container, ContainerError> {
    begin(store, options)?;
    let arrivals = Arrivals::default();
    let (pulled, unpacked) = std::thread::scope(|scope| {
        let unpacking =
            scope.spawn(|| unpack_arrivals(store, request, &arrivals, progress).transpose());
        let pulled = image::pull(store, client, request, &arrivals, progress);
        match unpacking.join() {
            Ok(unpacked) => (pulled, unpacked),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
    match (pulled, unpacked) {
        (Ok(_), Some(Ok(staged))) => publish(store, staged, options),
        // What arrived first may have been wrong, and old images cannot be unpacked early: now
        // that the image is here, it tells.
        (Ok(image), _) => create(store, &image, options, progress),
        (Err(error), unpacked) => {
            if let Some(Ok(staged)) = unpacked {
                discard(&staged)?;
            }
            Err(error.into())
        }
    }
}

/// Makes a container of what `fill` puts into it.
///
/// # Errors
/// The name is taken; `fill` fails. Nothing is left then.
pub(super) fn build(
    store: &Store,
    options: &CreateOptions,
    fill: impl FnOnce(&StagedContainer) -> Result<(), ContainerError>,
) -> Result<Container, ContainerError> {
    begin(store, options)?;
    publish(store, stage_filled(store, fill)?, options)
}

fn begin(store: &Store, options: &CreateOptions) -> Result<(), ContainerError> {
    if let Some(name) = &options.name
        && store.has_name(name)
    {
        return Err(StoreError::NameTaken(name.to_string()).into());
    }
    store.ensure()?;
    super::sweep(store)
}

/// Unpacks layers as they arrive; `None` if that cannot be done with this image.
fn unpack_arrivals(
    store: &Store,
    request: &PullRequest<'_>,
    arrivals: &Arrivals,
    progress: &dyn Progress,
) -> Result<Option<StagedContainer>, ContainerError> {
    let Some(content) = arrivals.wait_for_content() else {
        return Ok(None);
    };
    let ArrivingContent {
        config_bytes,
        layers,
    } = content;
    let layers = layers.into_iter().map(|(digest, diff_id)| {
        let source = arrivals.open(&digest).map_err(|error| {
            let path = store.layout().blob(&digest);
            ContainerError::from(FsError::at("read", &path)(error))
        })?;
        Ok(Layer {
            name: digest.short().to_string(),
            source: Box::new(source),
            diff_id,
            size: None,
        })
    });
    let name = request.reference.local_name();
    stage(store, &name, &config_bytes, layers, progress).map(Some)
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

/// Makes a whole container outside the listing; nothing is left of one that fails.
fn stage<'a>(
    store: &Store,
    image: &LocalName,
    config: &[u8],
    layers: impl Iterator<Item = Result<Layer<'a>, ContainerError>> + Send,
    progress: &dyn Progress,
) -> Result<StagedContainer, ContainerError> {
    stage_filled(store, |staged| {
        rootfs::apply_layers(&staged.root(), layers, Limits::default(), progress)?;
        Ok(staged.write_metadata(config, &image.to_string())?)
    })
}

/// The same, of whatever `fill` puts into it.
fn stage_filled(
    store: &Store,
    fill: impl FnOnce(&StagedContainer) -> Result<(), ContainerError>,
) -> Result<StagedContainer, ContainerError> {
    let staged = store.stage_container()?;
    match fill(&staged) {
        Ok(()) => Ok(staged),
        Err(error) => {
            discard(&staged)?;
            Err(error)
        }
    }
}

fn publish(
    store: &Store,
    staged: StagedContainer,
    options: &CreateOptions,
) -> Result<Container, ContainerError> {
    let mut container = store.publish_container(staged)?;
    let Some(name) = &options.name else {
        return Ok(container);
    };
    match store.add_name(&container.id, name) {
        Ok(()) => {
            container.names.push(name.to_string());
            Ok(container)
        }
        Err(error) => {
            // A clone of a protected container is protected.
            container.set_protected(false)?;
            super::remove(store, &container)?;
            Err(error.into())
        }
    }
}
