//! Loading: from an archive into the store.
//!
//! All images are stored in form v2, with digests. An OCI layout has them, and a manifest, which is
//! kept byte by byte. For other archives, digests are computed while the layers are read, and a
//! manifest is made from them. udocker.py reads this form as well as the form v1 that its own
//! `load` writes. Unlike v1, it can be verified, and shares its layers with images that are pulled.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::{ImageError, NewName};
use crate::archive::{self, ArchivedImage, ArchivedName, Contents, Part};
use crate::host::fs::{FsError, read_limited};
use crate::oci::{
    Algorithm, CONFIG_MAX_BYTES, DiffId, Digest, ImageConfig, LocalName, Platform, RawObject,
};
use crate::progress::{Counted, Progress};
use crate::rootfs::{self, Layer};
use crate::store::{Image, ImportStaging, NewBlob, NewImage, Store, StoreError};
use crate::stream::Compression;

/// The source of an archive.
pub enum LoadSource {
    /// A tar archive, compressed or not, and the number of its bytes, if that is known.
    Stream(Box<dyn Read + Send>, Option<u64>),
    /// An unpacked archive.
    Directory(PathBuf),
}

/// Loads all images of an archive, under `name` instead of their own names if it is given. Returns
/// the images, one for each name.
///
/// # Errors
/// `ImageError::Archive`, `Rootfs`, `Config`, `LayerCount` or `WrongLayer` if the archive cannot be
/// read, or is damaged; `NameTwice` or `OneNameForMany` if its images cannot have these names; `Store` if another image has one of them, or the store cannot be written. Nothing is left
/// then.
pub fn load(
    store: &Store,
    source: LoadSource,
    name: Option<&NewName>,
    progress: &dyn Progress,
) -> Result<Vec<Image>, ImageError> {
    let mut import_staging = store.import_staging()?;
    let contents = read(source, &mut import_staging, progress)?;
    let images = archive::images(&contents, &Platform::host())?;
    let names = all_names(&images, name, &|text| {
        let text = text.escape_debug();
        progress.note(&format!(
            "its name '{text}' cannot be given to an image, and is ignored"
        ));
    })?;
    let mut layers = Layers {
        known: BTreeMap::new(),
        parts: BTreeMap::new(),
        unlisted_max: UNLISTED_MAX,
        progress,
    };
    let mut new = Vec::new();
    for (image, names) in images.iter().zip(names) {
        let (manifest, blobs) = prepare(image, &mut layers, &mut import_staging)?;
        new.extend(names.into_iter().map(|name| NewImage {
            name,
            manifest: manifest.clone(),
            blobs: Rc::clone(&blobs),
        }));
    }
    Ok(store.publish_new(&new)?)
}

fn read(
    source: LoadSource,
    import_staging: &mut ImportStaging,
    progress: &dyn Progress,
) -> Result<Contents, ImageError> {
    let new_file = || Ok::<_, ImageError>(import_staging.file()?);
    match source {
        LoadSource::Stream(stream, size) => {
            let task = progress.begin("reading the archive", size);
            archive::read_tar(Counted::new(stream, &*task), new_file)
        }
        LoadSource::Directory(directory) => archive::read_directory(&directory, new_file),
    }
}

/// The names of each image. `ignored` is told those in the archive that cannot be given to one.
fn all_names(
    images: &[ArchivedImage],
    wanted: Option<&NewName>,
    ignored: &dyn Fn(&str),
) -> Result<Vec<Vec<LocalName>>, ImageError> {
    if let Some(name) = wanted
        && name.tag.is_some()
        && images.len() > 1
    {
        return Err(ImageError::OneNameForMany {
            name: name.local().to_string(),
            count: images.len(),
        });
    }
    let mut all: Vec<Vec<LocalName>> = Vec::new();
    for image in images {
        let names = names_of(image, wanted, ignored);
        if let Some(twice) = names
            .iter()
            .find(|name| all.iter().flatten().any(|n| n == *name))
        {
            return Err(ImageError::NameTwice(twice.to_string()));
        }
        all.push(names);
    }
    Ok(all)
}

/// The names of one image: those in the archive, with the repository of `wanted` if it is given. An
/// image without a repository is named after the digest of its configuration, so that it has the
/// same name each time.
fn names_of(
    image: &ArchivedImage,
    wanted: Option<&NewName>,
    ignored: &dyn Fn(&str),
) -> Vec<LocalName> {
    if let Some(name) = wanted
        && name.tag.is_some()
    {
        return vec![name.local()];
    }
    let fallback = || format!("loaded/{}", image.config.digest.short());
    let wanted = wanted.map(|name| name.repository.clone());
    let mut names: Vec<LocalName> = Vec::new();
    for name in &image.names {
        let (text, own) = match name {
            // A digest in a name is that of a registry's manifest, which need not be the archive's.
            ArchivedName::Whole(text) if text.contains('@') => continue,
            ArchivedName::Whole(text) => (text, text.parse::<NewName>()),
            ArchivedName::Tag(tag) => (tag, format!("{}:{tag}", fallback()).parse()),
        };
        let Ok(own) = own else {
            ignored(text);
            continue;
        };
        let mut name = own.local();
        if let Some(repository) = &wanted {
            name.repository.clone_from(repository);
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        let unnamed = NewName {
            repository: wanted.unwrap_or_else(fallback),
            tag: None,
        };
        names.push(unnamed.local());
    }
    names
}

/// Checks an image, and returns the file with its manifest, and its blobs.
fn prepare(
    image: &ArchivedImage,
    layers: &mut Layers<'_>,
    import_staging: &mut ImportStaging,
) -> Result<(PathBuf, Rc<[NewBlob]>), ImageError> {
    let config_bytes = read_limited(&image.config.path, CONFIG_MAX_BYTES)?;
    let config = ImageConfig::parse(&config_bytes).map_err(|source| ImageError::Config {
        digest: image.config.digest.clone(),
        source,
    })?;
    let mut parts = Cow::Borrowed(&image.layers[..]);
    let mut found = layers.check_all(&parts)?;
    if image.manifest.is_none()
        && let Some(all) = layers.completed(&parts, &config.diff_ids)
    {
        parts = Cow::Owned(all);
        found = layers.check_all(&parts)?;
    }
    let (mut config_part, mut manifest) = (image.config.clone(), image.manifest.as_ref());
    if check_diff_ids(&config, &parts, &found)? == DiffIds::OfCompressed {
        let bytes = with_diff_ids(&config_bytes, &found).map_err(|source| ImageError::Config {
            digest: image.config.digest.clone(),
            source,
        })?;
        config_part = stage_bytes(&bytes, import_staging)?;
        // The manifest in the archive refers to the old configuration.
        manifest = None;
    }
    let manifest = match manifest {
        Some(part) => part.path.clone(),
        None => stage_bytes(&manifest_of(&config_part, &parts)?, import_staging)?.path,
    };
    let mut blobs: Vec<NewBlob> = Vec::new();
    for part in std::iter::once(&config_part).chain(parts.iter()) {
        if blobs.iter().all(|blob| blob.digest != part.digest) {
            blobs.push(NewBlob {
                digest: part.digest.clone(),
                size: part.size,
                source: part.path.clone(),
            });
        }
    }
    Ok((manifest, blobs.into()))
}

/// What the diff_ids in a configuration are.
#[derive(Debug, PartialEq, Eq)]
enum DiffIds {
    /// Right, or missing, as in images made before 2016.
    Right,
    /// Digests of the compressed layers, which udocker.py's `import` writes.
    OfCompressed,
}

/// Compares the diff_ids in the configuration with those of the layers.
fn check_diff_ids(
    config: &ImageConfig,
    layers: &[Part],
    found: &[DiffId],
) -> Result<DiffIds, ImageError> {
    let expected = &config.diff_ids;
    if expected.is_empty() || expected == found {
        return Ok(DiffIds::Right);
    }
    if expected.len() != found.len() {
        return Err(ImageError::LayerCount {
            expected: expected.len(),
            found: found.len(),
        });
    }
    for ((expected, found), part) in expected.iter().zip(found).zip(layers) {
        if expected != found && expected.0 != part.digest {
            return Err(ImageError::WrongLayer {
                name: part.name.escape_debug().to_string(),
                expected: expected.clone(),
                found: found.clone(),
            });
        }
    }
    Ok(DiffIds::OfCompressed)
}

/// Replaces the diff_ids in a configuration.
pub(super) fn with_diff_ids(
    config: &[u8],
    diff_ids: &[DiffId],
) -> Result<Vec<u8>, serde_json::Error> {
    let mut document: RawObject<'_> = serde_json::from_slice(config)?;
    let rootfs = to_raw_value(&json!({"type": "layers", "diff_ids": diff_ids}))?;
    document.set("rootfs", &rootfs);
    serde_json::to_vec(&document)
}

/// Writes bytes to a staged file.
pub(super) fn stage_bytes(
    bytes: &[u8],
    import_staging: &mut ImportStaging,
) -> Result<Part, StoreError> {
    let (path, mut file) = import_staging.file()?;
    file.write_all(bytes).map_err(FsError::at("write", &path))?;
    Ok(Part {
        name: "".into(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        path,
    })
}

/// The manifest of an image whose archive has none.
///
/// Source: OCI image-spec v1.1, "Image Manifest".
pub(super) fn manifest_of(config: &Part, layers: &[Part]) -> Result<Vec<u8>, ImageError> {
    let describe = |part: &Part, media_type: &str| {
        json!({
            "mediaType": format!("application/vnd.oci.image.{media_type}"),
            "digest": part.digest,
            "size": part.size,
        })
    };
    let layers = layers
        .iter()
        .map(|part| {
            let media_type = match compression_of(&part.path)? {
                Compression::None => "layer.v1.tar",
                Compression::Gzip => "layer.v1.tar+gzip",
                // OCI defines no type for these two.
                Compression::Bzip2 => "layer.v1.tar+bzip2",
                Compression::Xz => "layer.v1.tar+xz",
                Compression::Zstd => "layer.v1.tar+zstd",
            };
            Ok(describe(part, media_type))
        })
        .collect::<Result<Vec<Value>, FsError>>()?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": describe(config, "config.v1+json"),
        "layers": layers,
    });
    Ok(manifest.to_string().into_bytes())
}

fn compression_of(path: &Path) -> Result<Compression, FsError> {
    let compression = File::open(path).and_then(Compression::of);
    compression.map_err(FsError::at("read", path))
}

/// The most layers that are added because images do not list them; real archives lack a few for
/// each image.
const UNLISTED_MAX: usize = 1 << 16;

/// The layers of an archive; each is read once.
struct Layers<'p> {
    known: BTreeMap<Digest, DiffId>,
    /// The layers by the digests of their uncompressed bytes.
    parts: BTreeMap<Digest, Part>,
    unlisted_max: usize,
    progress: &'p dyn Progress,
}

impl Layers<'_> {
    fn check_all(&mut self, parts: &[Part]) -> Result<Vec<DiffId>, ImageError> {
        parts.iter().map(|part| self.check(part)).collect()
    }

    /// All layers of an image that lists only some: udocker.py lists each layer of an archive for
    /// one image only. `None` if no layer is missing, or not all missing ones have been read
    /// before.
    fn completed(&mut self, listed: &[Part], expected: &[DiffId]) -> Option<Vec<Part>> {
        let missing = expected
            .len()
            .checked_sub(listed.len())
            .filter(|n| *n > 0)?;
        self.unlisted_max = self.unlisted_max.checked_sub(missing)?;
        let part_of = |expected: &DiffId| {
            // It may be the digest of the compressed layer.
            let DiffId(plain) = self.known.get(&expected.0).unwrap_or(expected);
            self.parts.get(plain).cloned()
        };
        let all: Vec<Part> = expected.iter().map(part_of).collect::<Option<_>>()?;
        let digests: BTreeSet<&Digest> = all.iter().map(|part| &part.digest).collect();
        let has_all = listed.iter().all(|part| digests.contains(&part.digest));
        has_all.then_some(all)
    }

    fn check(&mut self, part: &Part) -> Result<DiffId, ImageError> {
        if let Some(known) = self.known.get(&part.digest) {
            return Ok(known.clone());
        }
        let (diff_id, _) = check_tar(part, self.progress)?;
        self.known.insert(part.digest.clone(), diff_id.clone());
        self.parts.insert(diff_id.0.clone(), part.clone());
        Ok(diff_id)
    }
}

/// Reads a layer to its end, and refuses one that cannot be unpacked. Returns the digest of its
/// uncompressed bytes, and the number of its entries.
pub(super) fn check_tar(part: &Part, progress: &dyn Progress) -> Result<(DiffId, u64), ImageError> {
    // The digest of an uncompressed layer is known.
    let is_plain = compression_of(&part.path)? == Compression::None
        && part.digest.algorithm() == Algorithm::Sha256;
    let file = File::open(&part.path).map_err(FsError::at("open", &part.path))?;
    let layer = Layer {
        name: part.name.escape_debug().to_string(),
        source: Box::new(file),
        diff_id: None,
        size: Some(part.size),
    };
    let algorithm = (!is_plain).then_some(Algorithm::Sha256);
    let checked = rootfs::check_layer(layer, algorithm, progress)?;
    let diff_id = checked
        .diff_id
        .unwrap_or_else(|| DiffId(part.digest.clone()));
    Ok((diff_id, checked.entries))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(names: &[&str]) -> ArchivedImage {
        ArchivedImage {
            names: names
                .iter()
                .map(|name| match name.strip_prefix("tag ") {
                    Some(tag) => ArchivedName::Tag(tag.to_string()),
                    None => ArchivedName::Whole(name.to_string()),
                })
                .collect(),
            config: part(b"config"),
            layers: Vec::new(),
            manifest: None,
        }
    }

    fn part(content: &[u8]) -> Part {
        Part {
            name: "x".into(),
            path: PathBuf::new(),
            digest: Digest::of(content),
            size: 0,
        }
    }

    #[test]
    fn images_get_their_names_from_the_archive_or_the_user() {
        let loaded = format!("loaded/{}", Digest::of(b"config").short());
        let tagged = format!("{loaded}:v1");
        let latest = format!("{loaded}:latest");
        let digest = format!("docker.io/lab/tool@{}", Digest::of(b"manifest"));
        for (names, wanted, expected) in [
            (&["a:1"][..], None, &["a:1"][..]),
            (&["a:1", "b:2"], None, &["a:1", "b:2"]),
            (&["docker.io/library/a:1"], None, &["docker.io/library/a:1"]),
            (&["tag v1"], None, &[&tagged]),
            (&["v1"], None, &["v1:latest"]),
            (&[], None, &[&latest]),
            (&[&digest], None, &[&latest]),
            (&[&digest, "a:1"], None, &["a:1"]),
            (&[&digest], Some("new"), &["new:latest"]),
            (&["a:1", "b:2"], Some("new"), &["new:1", "new:2"]),
            (&["a:1", "b:1"], Some("new"), &["new:1"]),
            (&["a:1", "b:2"], Some("new:3"), &["new:3"]),
            (&["tag v1"], Some("q.io/x"), &["q.io/x:v1"]),
            (&[], Some("new"), &["new:latest"]),
        ] {
            let wanted: Option<NewName> = wanted.map(|text| text.parse().unwrap());
            let found = names_of(&image(names), wanted.as_ref(), &|text| panic!("{text}"));
            let found: Vec<String> = found.iter().map(LocalName::to_string).collect();
            assert_eq!(found, expected, "{names:?} {wanted:?}");
        }
    }

    #[test]
    fn names_that_no_image_can_have_are_ignored() {
        let loaded = format!("loaded/{}:latest", Digest::of(b"config").short());
        for name in [
            "../x:1",
            "a/../../b:1",
            "a:b\n",
            "x:",
            "..",
            "a b",
            "",
            "<none>:<none>",
            "tag 1.0+build",
            "tag ..",
            "tag ",
        ] {
            for (names, wanted, expected) in [
                (&[name][..], None, &loaded[..]),
                (&[name], Some("new"), "new:latest"),
                (&[name, "a:1"], None, "a:1"),
            ] {
                let wanted: Option<NewName> = wanted.map(|text| text.parse().unwrap());
                let ignored = std::cell::RefCell::new(Vec::new());
                let ignore = |text: &str| ignored.borrow_mut().push(text.to_string());
                let found = names_of(&image(names), wanted.as_ref(), &ignore);
                let found: Vec<String> = found.iter().map(LocalName::to_string).collect();
                assert_eq!(found, [expected], "{name}");
                assert_eq!(*ignored.borrow(), [name.trim_start_matches("tag ")]);
            }
        }
    }

    #[test]
    fn two_images_cannot_have_one_name() {
        let images = [image(&["a:1"]), image(&["a:1"])];
        assert!(matches!(
            all_names(&images, None, &|_| {}),
            Err(ImageError::NameTwice(_))
        ));
        // These are two names, as in udocker.py.
        let images_of_two_names = [image(&["a:1"]), image(&["library/a:1"])];
        assert_eq!(
            all_names(&images_of_two_names, None, &|_| {})
                .unwrap()
                .len(),
            2
        );
        let name: NewName = "b:1".parse().unwrap();
        assert!(matches!(
            all_names(&images, Some(&name), &|_| {}),
            Err(ImageError::OneNameForMany { count: 2, .. })
        ));
    }

    #[test]
    fn layers_are_compared_with_the_configuration() {
        let config = |ids: &[&[u8]]| ImageConfig {
            diff_ids: ids.iter().map(|id| DiffId(Digest::of(id))).collect(),
            ..ImageConfig::default()
        };
        let layers = [part(b"compressed")];
        let found = [DiffId(Digest::of(b"plain"))];
        let check = |ids: &[&[u8]]| check_diff_ids(&config(ids), &layers, &found);
        assert_eq!(check(&[]).unwrap(), DiffIds::Right);
        assert_eq!(check(&[b"plain"]).unwrap(), DiffIds::Right);
        assert_eq!(check(&[b"compressed"]).unwrap(), DiffIds::OfCompressed);
        assert!(matches!(
            check(&[b"other"]),
            Err(ImageError::WrongLayer { .. })
        ));
        assert!(matches!(
            check(&[b"plain", b"plain"]),
            Err(ImageError::LayerCount {
                expected: 2,
                found: 1
            })
        ));
    }
}
