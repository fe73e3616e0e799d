//! Creating: from an image to a container.

use std::fs::File;
use std::io;

use super::copy_source::{self, CopySource};
use super::image_tree::{self, ImageTrees, Keep};
use super::{ContainerError, remove::discard};
use crate::host::file_system::FileSystem;
use crate::host::fs::FsError;
use crate::host::space::{self, Need, Room};
use crate::image::{self, Downloads, PendingContent, PullRequest};
use crate::oci::{ChainId, LocalName};
use crate::progress::{Progress, Silent};
use crate::registry::Client;
use crate::rootfs::{self, ApplyOptions, Layer};
use crate::store::{
    Age, Container, ContainerName, Image, ImageContent, KeptTrees, LayerFile, StagedContainer,
    Store, StoreError,
};
use crate::stream::{Compression, declared_bytes};

/// How to create a container.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// Its name.
    pub name: Option<ContainerName>,
    /// Most bytes that its files may unpack to; `None` for what the disk holds.
    pub max_unpacked_bytes: Option<u64>,
    /// Whether the tree of the image is kept for further containers, and used.
    pub image_trees: ImageTrees,
}

impl CreateOptions {
    /// How layers are unpacked, and what may be taken for that.
    pub(super) fn unpacking(&self) -> ApplyOptions<'static> {
        ApplyOptions {
            max_unpacked_bytes: self.max_unpacked_bytes,
            ..ApplyOptions::default()
        }
    }

    /// Whether trees of images are of use. How much of one a limit would have allowed is not known.
    fn uses_trees(&self) -> bool {
        self.image_trees != ImageTrees::Never && self.max_unpacked_bytes.is_none()
    }
}

/// How often an image that others remove at once is pulled again.
const PULL_TRIES: usize = 5;

/// What any container takes beside the files of its image: its directories, metadata and lock.
const CONTAINER_FILES: u64 = 5;

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
    let (content, layers) = open_image(image)?;
    let chain = content.chain_id();
    let unpacking = Unpacking::new(&image.name, &content.config_bytes, chain, options);
    if let Some(staged) = stage_copy(store, &unpacking, progress) {
        return publish(store, staged, options);
    }
    space::require(&store.layout().containers, least_need(&content.layers))?;
    let room = Room::at(&store.layout().containers);
    let ahead = layers.len() > 1 && can_work_ahead(store, options);
    let stage = |layers: Vec<_>, ahead| {
        let layers = layers.into_iter().map(Ok);
        stage(store, &unpacking, layers, ahead, progress)
    };
    let staged = match stage(layers, ahead) {
        // What one layer removes makes room for the next one, but not before its turn.
        Err(ContainerError::Rootfs(error)) if ahead && error.is_storage_full() => {
            stage(open_image(image)?.1, false)
        }
        staged => staged,
    };
    let staged = staged.map_err(|error| {
        error.explained(|source| room.explain(source, unpacked_bytes(&content.layers)))
    })?;
    publish(store, staged, options)
}

/// What the layers say that they unpack to, for messages; it may be less than the truth.
fn unpacked_bytes(layers: &[LayerFile]) -> Option<u64> {
    let sizes = layers
        .iter()
        .map(|layer| declared_bytes(&mut File::open(&layer.path)?));
    sizes.sum::<io::Result<u64>>().ok()
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
    let request = &PullRequest {
        unpacked_in: Some(&store.layout().containers),
        ..*request
    };
    for attempt in 1.. {
        match try_pull_and_create(store, client, request, options, progress) {
            Err(ContainerError::Store(StoreError::NoImage(_))) if attempt < PULL_TRIES => {}
            result => return result,
        }
    }
    unreachable!("the loop ends by returning")
}

/// Fails with `NoImage` if another process removes the image as soon as it is here.
fn try_pull_and_create(
    store: &Store,
    client: &Client,
    request: &PullRequest<'_>,
    options: &CreateOptions,
    progress: &dyn Progress,
) -> Result<Container, ContainerError> {
    let downloads = Downloads::default();
    let (pulled, unpacked) = std::thread::scope(|scope| {
        let unpacking = scope
            .spawn(|| unpack_downloads(store, request, options, &downloads, progress).transpose());
        let pulled = image::pull(store, client, request, &downloads, progress);
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
                // The first error is the one to be told, here and below.
                let _ = discard(&staged);
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
    super::sweep(store, Age::DAY, KeptTrees::All);
    Ok(())
}

/// What the layers take at the least. They can replace each other's files, but hardly any layer
/// its own, and none unpacks to much less than it is compressed. One that is not may take less, on a
/// file system that compresses.
fn least_need(layers: &[LayerFile]) -> Need {
    let sizes = layers.iter().filter_map(|layer| {
        let mut file = File::open(&layer.path).ok()?;
        let is_compressed = Compression::of(&mut file).ok()? != Compression::None;
        is_compressed.then(|| file.metadata().map(|meta| meta.len()).ok())?
    });
    Need {
        bytes: sizes.max().unwrap_or(0),
        files: CONTAINER_FILES,
    }
}

/// Unpacks layers as they arrive; `None` if that cannot be done with this image.
fn unpack_downloads(
    store: &Store,
    request: &PullRequest<'_>,
    options: &CreateOptions,
    downloads: &Downloads,
    progress: &dyn Progress,
) -> Result<Option<StagedContainer>, ContainerError> {
    let Some(content) = downloads.wait_for_content() else {
        return Ok(None);
    };
    let PendingContent {
        config_bytes,
        layers,
    } = content;
    let diff_ids = layers.iter().map(|(_, diff_id)| diff_id.as_ref());
    let chain = ChainId::of_known(diff_ids);
    let layers = layers.into_iter().map(|(digest, diff_id)| {
        let source = downloads.open(&digest).map_err(|error| {
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
    let image = request.reference.local_name();
    let unpacking = Unpacking::new(&image, &config_bytes, chain, options);
    let ahead = can_work_ahead(store, options);
    stage(store, &unpacking, layers, ahead, progress).map(Some)
}

/// Reads what an image consists of, and opens its layers.
fn open_image(image: &Image) -> Result<(ImageContent, Vec<Layer<'static>>), ContainerError> {
    let open = || -> Result<_, ContainerError> {
        let content = image.content()?;
        let layers = open_layers(&content)?;
        Ok((content, layers))
    };
    match open() {
        Err(_) if !image.exists() => Err(StoreError::NoImage(image.name.to_string()).into()),
        // Another process may just have removed it and pulled it again, or replaced it.
        Err(_) => open(),
        opened => opened,
    }
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

/// What a container is made of, beside its layers.
struct Unpacking<'a> {
    image: &'a LocalName,
    config: &'a [u8],
    options: &'a CreateOptions,
    /// What identifies its tree, where trees are of use.
    chain: Option<ChainId>,
}

impl<'a> Unpacking<'a> {
    fn new(
        image: &'a LocalName,
        config: &'a [u8],
        chain: Option<ChainId>,
        options: &'a CreateOptions,
    ) -> Unpacking<'a> {
        Unpacking {
            image,
            config,
            options,
            chain: chain.filter(|_| options.uses_trees()),
        }
    }

    /// Whether the tree is kept as well.
    fn keep(&self, store: &Store) -> Option<Keep> {
        Keep::plan(store, self.options.image_trees, self.chain.clone()?)
    }
}

/// Whether layers may be worked on ahead of their turn. Moving a file is one more question to the
/// server of a file system that has one, and a limit is kept in the order of layers.
fn can_work_ahead(store: &Store, options: &CreateOptions) -> bool {
    let system = FileSystem::of(&store.layout().containers);
    options.max_unpacked_bytes.is_none() && system.is_ok_and(|system| !system.has_server())
}

/// Makes a whole container outside the listing; nothing is left of one that fails.
fn stage<'a>(
    store: &Store,
    unpacking: &Unpacking<'_>,
    layers: impl Iterator<Item = Result<Layer<'a>, ContainerError>> + Send,
    ahead: bool,
    progress: &dyn Progress,
) -> Result<StagedContainer, ContainerError> {
    let keep = unpacking.keep(store);
    stage_tree(store, unpacking, |staged| {
        let staging = staged.path().join("staging");
        let options = ApplyOptions {
            begin_write_back: keep.as_ref().is_some_and(|keep| keep.shares_blocks),
            staging: ahead.then_some(&staging),
            ..unpacking.options.unpacking()
        };
        rootfs::apply_layers(&staged.root(), layers, options, progress)?;
        if let Some(keep) = &keep {
            keep.carry_out(store, staged, progress);
        }
        Ok(())
    })
}

/// The same from what an earlier container was unpacked to. None where there is nothing, or it is
/// damaged, or not there for long enough: the layers are.
fn stage_copy(
    store: &Store,
    unpacking: &Unpacking<'_>,
    progress: &dyn Progress,
) -> Option<StagedContainer> {
    let chain = unpacking.chain.as_ref()?;
    let of_tree = store.image_tree(chain).and_then(|tree| {
        let fill =
            |staged: &StagedContainer| image_tree::fill(store, &staged.root(), &tree, progress);
        stage_tree(store, unpacking, fill).ok()
    });
    of_tree.or_else(|| {
        let source = CopySource::find(store, chain)?;
        let keep = unpacking.keep(store);
        let fill = |staged: &StagedContainer| {
            source.copy_to(staged, progress)?;
            if let Some(keep) = &keep {
                keep.carry_out(store, staged, progress);
            }
            Ok(())
        };
        stage_tree(store, unpacking, fill).ok()
    })
}

/// The same with the tree that `fill` makes.
fn stage_tree(
    store: &Store,
    unpacking: &Unpacking<'_>,
    fill: impl FnOnce(&StagedContainer) -> Result<(), ContainerError>,
) -> Result<StagedContainer, ContainerError> {
    stage_filled(store, |staged| {
        // First, since it is synced, and the file system would write the tree along with it.
        staged.write_metadata(unpacking.config, &unpacking.image.to_string())?;
        fill(staged)?;
        if let Some(chain) = &unpacking.chain {
            copy_source::remember(store, staged, chain);
        }
        Ok(())
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
            let _ = discard(&staged);
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
            let _ = container.set_protected(false);
            let _ = super::remove(store, &container, &Silent);
            Err(error.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_compressed_takes_as_much_unpacked() {
        let directory = tempfile::tempdir().unwrap();
        let layer = |name: &str, bytes: &[u8]| {
            let path = directory.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            LayerFile {
                path,
                digest: None,
                diff_id: None,
            }
        };
        let compressed = zstd::bulk::compress(b"layer", 1).unwrap();
        let plain = vec![0; 10_000];
        let layers = [layer("plain", &plain), layer("compressed", &compressed)];
        assert_eq!(least_need(&layers).bytes, compressed.len() as u64);
    }
}
