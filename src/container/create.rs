//! Creating a container from an image.

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
    /// The most bytes in its files; `None` for no limit but the disk.
    pub max_unpacked_bytes: Option<u64>,
    /// Whether the tree of the image is kept for further containers, and used for this one.
    pub image_trees: ImageTrees,
}

impl CreateOptions {
    /// The options for unpacking layers.
    pub(super) fn unpacking(&self) -> ApplyOptions<'static> {
        ApplyOptions {
            max_unpacked_bytes: self.max_unpacked_bytes,
            ..ApplyOptions::default()
        }
    }

    /// Whether a copied tree may take the place of unpacking. With a limit it may not, since only
    /// unpacking checks it.
    fn uses_trees(&self) -> bool {
        self.image_trees != ImageTrees::Never && self.max_unpacked_bytes.is_none()
    }
}

/// How often an image is pulled that other processes remove at once.
const PULL_TRIES: usize = 5;

/// The files that a container has beside those of its image: directories, metadata and lock.
const CONTAINER_FILES: u64 = 5;

/// Creates a container: unpacks the layers of the image, then publishes it under its id and name.
///
/// # Errors
/// The name is taken; the image is damaged; the disk is full. Nothing is left behind then.
pub fn create(
    store: &Store,
    image: &Image,
    options: &CreateOptions,
    progress: &dyn Progress,
) -> Result<Container, ContainerError> {
    begin(store, options)?;
    // All layers are opened first, so that the image may be removed meanwhile.
    let (content, layers) = open_image(image)?;
    let chain = content.chain_id();
    let unpacking = Unpacking::new(&image.name, &content.config_bytes, chain, options);
    if let Some(staged) = stage_copy(store, &unpacking, progress) {
        return publish(store, staged, options);
    }
    space::require(&store.layout().containers, least_need(&content.layers))?;
    let room = Room::at(&store.layout().containers);
    let prefetch = layers.len() > 1 && can_prefetch(store, options);
    let stage = |layers: Vec<_>, prefetch| {
        let layers = layers.into_iter().map(Ok);
        stage_layers(store, &unpacking, layers, prefetch, progress)
    };
    let staged = match stage(layers, prefetch) {
        // One layer after the other takes less space, since a layer may remove files before the
        // next one needs the space.
        Err(ContainerError::Rootfs(error)) if prefetch && error.is_storage_full() => {
            stage(open_image(image)?.1, false)
        }
        staged => staged,
    };
    let staged = staged.map_err(|error| {
        error.explained(|source| room.explain(source, unpacked_bytes(&content.layers)))
    })?;
    publish(store, staged, options)
}

/// The size that the layers declare to unpack to, for messages. The actual size may be larger.
fn unpacked_bytes(layers: &[LayerFile]) -> Option<u64> {
    let sizes = layers
        .iter()
        .map(|layer| declared_bytes(&mut File::open(&layer.path)?));
    sizes.sum::<io::Result<u64>>().ok()
}

/// Pulls an image and creates a container of it at the same time: layers are unpacked while they
/// are being downloaded. The container is published after the image.
///
/// # Errors
/// Errors of [`image::pull`] and of [`create`]. No container is left behind then.
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
    let attempt = || try_pull_and_create(store, client, request, options, progress);
    let was_removed = |result: &Result<_, ContainerError>| {
        matches!(result, Err(ContainerError::Store(StoreError::NoImage(_))))
    };
    (1..PULL_TRIES)
        .map(|_| attempt())
        .find(|result| !was_removed(result))
        .unwrap_or_else(attempt)
}

/// Pulls an image and creates a container of it.
///
/// # Errors
/// `StoreError::NoImage` if another process removes the image as soon as it is pulled; other errors
/// of [`pull_and_create`].
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
        // Old images cannot be unpacked while they are pulled, and a download may have been wrong
        // at first. Now the image is complete.
        (Ok(image), _) => create(store, &image, options, progress),
        (Err(error), unpacked) => {
            if let Some(Ok(staged)) = unpacked {
                // The first error is reported, here and below.
                let _ = discard(&staged);
            }
            Err(error.into())
        }
    }
}

/// Makes a container whose content `fill` writes.
///
/// # Errors
/// The name is taken; `fill` fails; the repository cannot be written. Nothing is left behind then.
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

/// The least space that the layers need: that of the largest compressed layer. Layers can replace
/// each other's files, but hardly their own, and none unpacks to much less than its compressed
/// size. An uncompressed layer may take less, on a file system that compresses.
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

/// Unpacks layers while they are downloaded; `None` if that is not possible for this image.
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
    let prefetch = can_prefetch(store, options);
    stage_layers(store, &unpacking, layers, prefetch, progress).map(Some)
}

/// Reads the content of an image, and opens its layers.
fn open_image(image: &Image) -> Result<(ImageContent, Vec<Layer<'static>>), ContainerError> {
    let open = || -> Result<_, ContainerError> {
        let content = image.content()?;
        let layers = open_layers(&content)?;
        Ok((content, layers))
    };
    match open() {
        Err(_) if !image.exists() => Err(StoreError::NoImage(image.name.to_string()).into()),
        // Another process may have replaced the image just now.
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
    /// The chain id of the image, if its tree may be copied or kept.
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

    /// Decides whether a copy of the tree is kept.
    fn keep(&self, store: &Store) -> Option<Keep> {
        Keep::plan(store, self.options.image_trees, self.chain.clone()?)
    }
}

/// Whether layers may be read before their turn. On a file system with a server, moving each file
/// to its place costs one more request; and limits hold in the order of layers.
fn can_prefetch(store: &Store, options: &CreateOptions) -> bool {
    let system = FileSystem::of(&store.layout().containers);
    options.max_unpacked_bytes.is_none() && system.is_ok_and(|system| !system.has_server())
}

/// Unpacks layers to a new container, which is not published yet. Nothing is left behind if that
/// fails.
fn stage_layers<'a>(
    store: &Store,
    unpacking: &Unpacking<'_>,
    layers: impl Iterator<Item = Result<Layer<'a>, ContainerError>> + Send,
    prefetch: bool,
    progress: &dyn Progress,
) -> Result<StagedContainer, ContainerError> {
    let keep = unpacking.keep(store);
    stage_tree(store, unpacking, |staged| {
        let staging = staged.path().join("staging");
        let options = ApplyOptions {
            begin_write_back: keep.as_ref().is_some_and(|keep| keep.shares_blocks),
            staging: prefetch.then_some(&staging),
            ..unpacking.options.unpacking()
        };
        rootfs::apply_layers(&staged.root(), layers, options, progress)?;
        if let Some(keep) = &keep {
            keep.carry_out(store, staged, progress);
        }
        Ok(())
    })
}

/// Copies the kept tree of the image, or another container of it, to a new container, which is not
/// published yet. `None` if there is neither, or copying fails: the layers can still be unpacked.
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

/// Makes a container of an image, which is not published yet; `fill` makes its tree. Nothing is
/// left behind if that fails.
fn stage_tree(
    store: &Store,
    unpacking: &Unpacking<'_>,
    fill: impl FnOnce(&StagedContainer) -> Result<(), ContainerError>,
) -> Result<StagedContainer, ContainerError> {
    stage_filled(store, |staged| {
        // Metadata is synced, and the file system may write everything else along with it; so it is
        // written before the tree.
        staged.write_metadata(unpacking.config, &unpacking.image.to_string())?;
        fill(staged)?;
        if let Some(chain) = &unpacking.chain {
            copy_source::remember(store, staged, chain);
        }
        Ok(())
    })
}

/// Makes a container, which is not published yet; `fill` writes its whole content. Nothing is left
/// behind if that fails.
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
    fn the_least_need_is_that_of_the_largest_compressed_layer() {
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
