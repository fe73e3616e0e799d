//! Images: `repos/<repository>/<tag>/`.
//!
//! ```text
//! TAG             <path of the repository directory>:<tag>; makes the directory an image
//! v2 | v1         empty: the form of the image
//! PROTECT         empty: rmi must refuse
//! manifest        v2: the manifest as the registry sent it
//! ancestry        v1: a JSON list of layer ids, top layer first
//! container.json  v1: the image configuration
//! <link>          one relative link per blob into layers/
//! ```
//!
//! `image_content` reads the content of an image from these.
//!
//! An image is written in place: first the links, then the manifest by a rename, then `TAG`.
//! Readers see the old image or the new one, and all programs ignore a directory without `TAG`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::links::{link, link_target, set_marker};
use super::{Lock, Store, layout};
use crate::host::fs::{self as host_fs, FsError, write_atomic};
use crate::oci::{Digest, LocalName, Reference};

/// The files that make a directory an image and protect it.
pub(super) const MARKERS: [&str; 2] = ["TAG", "PROTECT"];

/// The other files in an image's directory, beside its links.
pub(super) const IMAGE_FILES: [&str; 5] = ["v1", "v2", "manifest", "ancestry", "container.json"];

/// Which of udocker's two forms an image has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Loaded or imported: `ancestry`.
    V1,
    /// Pulled: `manifest`.
    V2,
}

/// An image in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// `<repository>:<tag>`
    pub name: LocalName,
    /// Its directory.
    pub directory: PathBuf,
}

impl Store {
    /// Lists all images, sorted by name.
    pub fn images(&self) -> Vec<Image> {
        let mut images = find_images(&self.layout.repos);
        images.sort_by(|a, b| a.name.cmp(&b.name));
        images
    }

    /// Finds an image by the text that a user typed: first the image of that name, then one under
    /// another of Docker Hub's names for it.
    ///
    /// # Errors
    /// `StoreError::NoImage`
    pub fn image(&self, text: &str) -> Result<Image, StoreError> {
        self.image_named(text).or_else(|missing| {
            let reference = text.parse::<Reference>();
            let aliases = reference.map_or(Vec::new(), |reference| reference.docker_hub_aliases());
            self.first_image(aliases).ok_or(missing)
        })
    }

    /// Finds an image by its own name only, for commands that remove or change it.
    ///
    /// # Errors
    /// `StoreError::NoImage`
    pub fn image_named(&self, text: &str) -> Result<Image, StoreError> {
        let mut names = LocalName::listed_as(text);
        names.extend(text.parse::<Reference>().map(|name| name.local_name()));
        names.extend(LocalName::parse_lenient(text));
        names.extend(LocalName::split_by_udocker_py(text));
        self.first_image(names)
            .ok_or_else(|| StoreError::NoImage(text.to_string()))
    }

    fn first_image(&self, names: Vec<LocalName>) -> Option<Image> {
        let mut images = names.iter().map(|name| self.image_at(name));
        images.find(Image::exists)
    }

    /// The image of this name, which need not exist.
    pub(super) fn image_at(&self, name: &LocalName) -> Image {
        Image {
            directory: self.layout.image(name),
            name: name.clone(),
        }
    }

    /// Makes sure that an image can have this name beside the others: the directory of an image
    /// with the tag `v1` or `TAG` may be in the place of a file of another image.
    ///
    /// # Errors
    /// `StoreError::NameClash`
    pub fn ensure_possible(&self, name: &LocalName) -> Result<(), StoreError> {
        let image = self.image_at(name);
        let files = || MARKERS.iter().chain(&IMAGE_FILES);
        let is_of_image = |path: &&Path| {
            let is_reserved = files().any(|file| path.ends_with(file));
            is_reserved && path.with_file_name("TAG").is_file()
        };
        let above = self.below_repos(&image.directory).filter(is_of_image);
        let inside = files().map(|file| image.directory.join(file));
        let mut clashes = above
            .map(Path::to_path_buf)
            .chain(inside.filter(|path| path.is_dir()));
        match clashes.next() {
            None => Ok(()),
            Some(path) => Err(StoreError::NameClash {
                image: name.to_string(),
                path,
            }),
        }
    }

    /// Publishes a pulled image under `name`, and replaces the image that is there.
    ///
    /// All blobs have to be in `layers/` already. That no other process has removed one since is
    /// checked under the lock.
    ///
    /// # Errors
    /// `StoreError::BlobVanished` if a blob has to be fetched again; `NameClash`; `Fs` if a file or
    /// link cannot be written.
    pub fn publish_image(
        &self,
        name: &LocalName,
        manifest: &[u8],
        blobs: &[Digest],
    ) -> Result<Image, StoreError> {
        let _lock = Lock::exclusive(&self.layout.images_lock())?;
        self.ensure_blobs(blobs)?;
        self.write_image(name, manifest, blobs)
    }

    fn ensure_blobs(&self, blobs: &[Digest]) -> Result<(), StoreError> {
        ensure_files(blobs, |blob| self.layout.blob(blob))
    }

    /// Writes an image whose blobs are there. The caller holds the lock.
    pub(super) fn write_image(
        &self,
        name: &LocalName,
        manifest: &[u8],
        blobs: &[Digest],
    ) -> Result<Image, StoreError> {
        self.ensure_possible(name)?;
        let image = self.image_at(name);
        host_fs::create_dir_all(&image.directory)?;
        for blob in blobs {
            link(
                &image.directory,
                blob.to_string().as_ref(),
                &self.layout.blob(blob),
            )?;
        }
        // Another host may not see the lock, and may be removing an image of this name or with
        // these blobs: it may just have removed a link, or have read the directory before the links
        // were made.
        image.ensure_linked(blobs)?;
        let at = |entry: &str| image.directory.join(entry);
        write_atomic(&at("manifest"), manifest, 0o644)?;
        write_atomic(&at("v2"), b"", 0o644)?;
        write_atomic(
            &at("TAG"),
            image.tag_line(&self.layout.repos).as_bytes(),
            0o644,
        )?;

        image.ensure_linked(blobs)?;

        // The files of an earlier image of this name are removed; first the marker of form v1,
        // which would need its own links.
        host_fs::remove_file(&at("v1"))?;
        let current: BTreeSet<OsString> =
            blobs.iter().map(|blob| blob.to_string().into()).collect();
        let mut stale = image.links()?;
        stale.retain(|link| !current.contains(link));
        let unlinked = image.unlink(&stale)?;
        for entry in ["ancestry", "container.json"] {
            host_fs::remove_file(&at(entry))?;
        }
        self.remove_unlinked(&unlinked)?;
        Ok(image)
    }

    /// Removes an image, and its blobs that no other image links to. As with udocker.py, images of
    /// other repositories with the same `layers` do not count.
    ///
    /// # Errors
    /// `StoreError::Protected`; `NoImage` if it is gone already; `Fs` if a file cannot be removed.
    pub fn remove_image(&self, image: &Image) -> Result<(), StoreError> {
        let _lock = Lock::exclusive(&self.layout.images_lock())?;
        // Another process may have removed it.
        if !image.exists() {
            return Err(StoreError::NoImage(image.name.to_string()));
        }
        if image.is_protected() {
            return Err(StoreError::Protected(image.name.to_string()));
        }
        self.erase_image(image)
    }

    /// Removes an image, or the remains of one. The caller holds the lock.
    pub(super) fn erase_image(&self, image: &Image) -> Result<(), StoreError> {
        let links = image.links()?;
        // Without TAG it is no image any more, even if the next steps fail.
        host_fs::remove_file(&image.directory.join("TAG"))?;
        let unlinked = image.unlink(&links)?;
        for entry in host_fs::list(&image.directory)? {
            if !entry.path().is_dir() {
                host_fs::remove_file(&entry.path())?;
            }
        }
        self.remove_empty_directories(&image.directory);
        self.remove_unlinked(&unlinked)
    }

    /// A directory below `repos`, and those between the two.
    fn below_repos<'p>(&self, directory: &'p Path) -> impl Iterator<Item = &'p Path> {
        let is_below =
            |path: &&Path| path.starts_with(&self.layout.repos) && **path != self.layout.repos;
        directory.ancestors().take_while(is_below)
    }

    fn remove_empty_directories(&self, directory: &Path) {
        for directory in self.below_repos(directory) {
            // A directory with other images is not empty, and stays with those above it.
            if fs::remove_dir(directory).is_err() {
                return;
            }
        }
    }

    /// Removes those of `blobs` that no image links to; none if a directory of `repos` cannot be
    /// read, which `gc` reports.
    fn remove_unlinked(&self, blobs: &[OsString]) -> Result<(), StoreError> {
        if blobs.is_empty() {
            return Ok(());
        }
        let Ok(linked) = linked_names(&self.layout.repos) else {
            return Ok(());
        };
        for blob in blobs.iter().filter(|blob| !linked.contains(*blob)) {
            host_fs::remove_file(&self.layout.layers.join(blob))?;
        }
        Ok(())
    }
}

/// Checks that each of these blobs has a file at its `place`.
fn ensure_files(blobs: &[Digest], place: impl Fn(&Digest) -> PathBuf) -> Result<(), StoreError> {
    match blobs.iter().find(|blob| !place(blob).is_file()) {
        Some(missing) => Err(StoreError::BlobVanished(missing.clone())),
        None => Ok(()),
    }
}

/// The names of the blobs that links in `repos` lead to, also those in directories without `TAG`:
/// another process may be about to write it.
///
/// # Errors
/// A directory or link cannot be read; `repos` is missing.
pub(super) fn linked_names(repos: &Path) -> Result<BTreeSet<OsString>, FsError> {
    // Directories below may be gone, since other processes remove images. If `repos` itself is
    // missing, its path may be mistyped, or its file system not mounted.
    fs::read_dir(repos).map_err(FsError::at("list", repos))?;
    let mut names = BTreeSet::new();
    let mut waiting: Vec<PathBuf> = vec![repos.to_path_buf()];
    while let Some(directory) = waiting.pop() {
        for entry in host_fs::list(&directory)? {
            let path = entry.path();
            let kind = match entry.file_type() {
                // Another process has just removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                kind => kind.map_err(FsError::at("examine", &path))?,
            };
            if kind.is_dir() {
                waiting.extend((!is_of_file_system(repos, &path)).then_some(path));
            } else if kind.is_symlink() {
                names.extend(link_target(&path)?);
            }
        }
    }
    Ok(names)
}

/// Whether a directory is at the top of `repos` and the file system's own.
pub(super) fn is_of_file_system(repos: &Path, directory: &Path) -> bool {
    directory.parent() == Some(repos)
        && directory.file_name().is_some_and(layout::is_of_file_system)
}

/// Finds all images below `repos`. Each directory is read once, and no file is examined.
fn find_images(repos: &Path) -> Vec<Image> {
    let mut images = Vec::new();
    let mut waiting = vec![repos.to_path_buf()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                // Symbolic links lead to blobs; only directories can be images or have some.
                Ok(kind) if kind.is_dir() => {
                    let path = entry.path();
                    waiting.extend((!is_of_file_system(repos, &path)).then_some(path));
                }
                Ok(kind) if kind.is_file() && entry.file_name() == "TAG" => {
                    images.extend(Image::in_directory(repos, &directory));
                }
                _ => {}
            }
        }
    }
    images
}

impl Image {
    /// Checks that its links to these blobs lead to files.
    fn ensure_linked(&self, blobs: &[Digest]) -> Result<(), StoreError> {
        ensure_files(blobs, |blob| self.directory.join(blob.to_string()))
    }

    /// The image in this directory of `repos`; `None` if the directory is too near to the top.
    fn in_directory(repos: &Path, directory: &Path) -> Option<Image> {
        let path = directory.strip_prefix(repos).ok()?;
        Some(Image {
            name: LocalName::of_directory(&path.to_string_lossy())?,
            directory: directory.to_path_buf(),
        })
    }

    /// Whether the image exists.
    pub fn exists(&self) -> bool {
        self.directory.join("TAG").is_file()
    }

    pub(super) fn tag_line(&self, repos: &Path) -> String {
        let repository = repos.join(&self.name.repository);
        format!("{}:{}", repository.display(), self.name.tag)
    }

    /// The form of the image.
    pub fn form(&self) -> Form {
        // A directory of this name belongs to another image, here and below.
        if self.directory.join("v1").is_file() {
            Form::V1
        } else {
            Form::V2
        }
    }

    /// Whether `rmi` has to refuse to remove it.
    pub fn is_protected(&self) -> bool {
        self.directory.join("PROTECT").is_file()
    }

    /// Sets or removes the protection.
    ///
    /// # Errors
    /// `StoreError::Fs` if the file `PROTECT` cannot be created or removed.
    pub fn set_protected(&self, protected: bool) -> Result<(), StoreError> {
        Ok(set_marker(&self.directory.join("PROTECT"), protected)?)
    }

    /// The names of the links in its directory, sorted.
    ///
    /// # Errors
    /// `StoreError::Fs` if the directory cannot be listed.
    pub fn links(&self) -> Result<Vec<OsString>, StoreError> {
        let mut links: Vec<OsString> = host_fs::list(&self.directory)?
            .into_iter()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()))
            .map(|entry| entry.file_name())
            .collect();
        links.sort();
        Ok(links)
    }

    /// Removes links, and returns the names of their blobs.
    fn unlink(&self, links: &[OsString]) -> Result<Vec<OsString>, FsError> {
        let mut targets = Vec::new();
        for link in links {
            let path = self.directory.join(link);
            targets.extend(link_target(&path)?);
            host_fs::remove_file(&path)?;
        }
        Ok(targets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::store;
    use crate::store::{Layout, Staging};
    use std::io::Write;
    use std::os::unix::fs::symlink;

    fn add_blob(store: &Store, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        if let Staging::Needed(mut blob) = store.blobs().stage(&digest, None).unwrap() {
            blob.write_all(bytes).unwrap();
            blob.publish().unwrap();
        }
        digest
    }

    fn name(text: &str) -> LocalName {
        text.parse::<Reference>().unwrap().local_name()
    }

    fn publish(store: &Store, image: &str, layers: &[&str]) -> Image {
        let config = add_blob(store, br#"{"os":"linux","architecture":"amd64"}"#);
        let layers: Vec<Digest> = layers
            .iter()
            .map(|l| add_blob(store, l.as_bytes()))
            .collect();
        let describe = |digest: &Digest| serde_json::json!({"digest": digest, "size": 1});
        let manifest = serde_json::json!({
            "config": describe(&config),
            "layers": layers.iter().map(describe).collect::<Vec<_>>(),
        });
        let blobs: Vec<Digest> = layers.into_iter().chain([config]).collect();
        store
            .publish_image(&name(image), manifest.to_string().as_bytes(), &blobs)
            .unwrap()
    }

    #[test]
    fn a_published_image_is_listed_and_readable() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let image = publish(&store, "quay.io/a/b:1", &["one", "two"]);
        assert_eq!(store.images(), std::slice::from_ref(&image));
        assert_eq!(store.image("quay.io/a/b:1").unwrap(), image);
        let repos = store.layout().repos.display().to_string();
        assert_eq!(
            fs::read_to_string(image.directory.join("TAG")).unwrap(),
            format!("{repos}/quay.io/a/b:1")
        );
        let content = image.content().unwrap();
        assert_eq!(content.config.platform_text(), "linux/amd64");
        let texts: Vec<String> = content
            .layers
            .iter()
            .map(|layer| fs::read_to_string(&layer.path).unwrap())
            .collect();
        assert_eq!(texts, ["one", "two"]);
    }

    /// Publishes an image in a directory that another program may have made.
    fn publish_at(store: &Store, repository: &str, tag: &str, layer: &str) -> Image {
        let name = LocalName {
            repository: repository.to_string(),
            tag: tag.to_string(),
        };
        let blob = add_blob(store, layer.as_bytes());
        store.publish_image(&name, b"{}", &[blob]).unwrap()
    }

    #[test]
    fn a_text_finds_the_image_listed_as_it_before_one_of_another_name() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        for (repository, tag) in [
            ("demo/dd", "1"),
            ("docker.io/demo/dd", "1"),
            ("busybox", "latest"),
            ("library/busybox", "latest"),
            ("docker.io/library/alpine", "3"),
            ("Lab/Tool", "latest"),
            ("reg.example.com/5000", "x:1"),
            ("odd", "-a"),
            ("odd", ".a"),
            ("odd", &"t".repeat(200)),
        ] {
            publish_at(&store, repository, tag, tag);
        }
        for (text, found) in [
            ("demo/dd:1", "demo/dd:1"),
            ("docker.io/demo/dd:1", "docker.io/demo/dd:1"),
            ("index.docker.io/demo/dd:1", "demo/dd:1"),
            ("library/busybox", "library/busybox:latest"),
            ("library/busybox:latest", "library/busybox:latest"),
            ("busybox", "busybox:latest"),
            ("docker.io/busybox", "busybox:latest"),
            ("alpine:3", "docker.io/library/alpine:3"),
            ("docker.io/alpine:3", "docker.io/library/alpine:3"),
            ("Lab/Tool", "Lab/Tool:latest"),
            ("reg.example.com/5000:x:1", "reg.example.com/5000:x:1"),
            ("reg.example.com:5000/x:1", "reg.example.com/5000:x:1"),
            ("odd:-a", "odd:-a"),
            ("odd:.a", "odd:.a"),
        ] {
            let image = store.image(text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(image.name.to_string(), found, "{text}");
        }
        for image in store.images() {
            assert_eq!(store.image(&image.name.to_string()).unwrap(), image);
        }
        for text in [
            "quay.io/demo/dd:1",
            "dd:1",
            "../repos/demo/dd:1",
            "demo:dd/1/",
        ] {
            assert!(store.image(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_image_of_any_name_keeps_its_blobs() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let deepest = format!("{}a", "a/".repeat(127));
        let images = [(&deepest[..], "1"), ("x", ".a")];
        let images = images.map(|(repository, tag)| publish_at(&store, repository, tag, "layer"));
        let other = publish_at(&store, "other", "1", "layer");
        store.remove_image(&other).unwrap();
        assert!(store.blobs().contains(&Digest::of(b"layer"), None));
        assert_eq!(store.images(), images);
    }

    #[test]
    fn nested_image_names_are_distinguished() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let put = |name: &str| fs::create_dir_all(store.layout().repos.join(name)).unwrap();
        let image = publish(&store, "a:foo", &["l"]);
        for name in ["PROTECT", "v1", "container.json"] {
            put(&format!("a/foo/{name}/x"));
        }
        assert!(!image.is_protected() && image.form() == Form::V2);
        put("b/foo/TAG/x");
        for text in [
            "a/foo:TAG",
            "a/foo/v2/x:1",
            "a/foo:PROTECT",
            "a:foo",
            "b:foo",
        ] {
            let error = store.publish_image(&name(text), b"{}", &[]).unwrap_err();
            assert!(
                matches!(error, StoreError::NameClash { .. }),
                "{text}: {error}"
            );
        }
        store.remove_image(&image).unwrap();
        publish(&store, "a/foo:TAG", &["l"]);
        assert_eq!(store.images().len(), 1);
    }

    #[test]
    fn removing_an_image_leaves_the_blobs_of_others() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let first = publish(&store, "a/b:1", &["shared", "own"]);
        publish(&store, "a/b:2", &["shared"]);
        store.remove_image(&first).unwrap();
        assert!(store.blobs().contains(&Digest::of(b"shared"), None));
        assert!(!store.blobs().contains(&Digest::of(b"own"), None));
        assert!(matches!(store.image("a/b:1"), Err(StoreError::NoImage(_))));
        store.remove_image(&store.image("a/b:2").unwrap()).unwrap();
        assert_eq!(fs::read_dir(&store.layout().repos).unwrap().count(), 0);
        assert!(!store.blobs().contains(&Digest::of(b"shared"), None));
    }

    #[test]
    fn replaced_image_drops_unneeded_blobs() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        publish(&store, "x", &["old"]);
        let image = publish(&store, "x", &["new"]);
        assert!(!store.blobs().contains(&Digest::of(b"old"), None));
        assert_eq!(image.links().unwrap().len(), 2);
    }

    #[test]
    fn protected_image_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let image = publish(&store, "x", &["l"]);
        image.set_protected(true).unwrap();
        assert!(matches!(
            store.remove_image(&image),
            Err(StoreError::Protected(_))
        ));
        image.set_protected(false).unwrap();
        store.remove_image(&image).unwrap();
    }

    #[test]
    fn a_missing_layer_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let image = publish(&store, "x", &["l"]);
        fs::remove_file(store.layout().blob(&Digest::of(b"l"))).unwrap();
        let error = image.content().unwrap_err().to_string();
        assert!(
            error.starts_with("image 'x:latest' is damaged: layer 'sha256:"),
            "{error}"
        );
    }

    #[test]
    fn links_reach_blobs_in_other_directories() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("a/b/c");
        fs::create_dir_all(&deep).unwrap();
        let home = directory.path().join("home");
        symlink(&deep, &home).unwrap();
        let layout = Layout {
            layers: directory.path().join("layers"),
            ..Layout::below(&home)
        };
        let store = Store::open(layout);
        store.ensure().unwrap();
        let image = publish(&store, "x", &["l"]);
        assert_eq!(image.content().unwrap().layers.len(), 1);
        let link = fs::read_link(image.directory.join(&image.links().unwrap()[0])).unwrap();
        assert!(link.is_relative());
    }

    #[test]
    fn image_replacing_another_format_leaves_no_blob() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let image = publish(&store, "x", &["l"]);
        let (config, layer) = (add_blob(&store, b"{}"), add_blob(&store, b"of v1"));
        for (link, blob) in [("container.json", &config), ("aa.layer", &layer)] {
            super::link(&image.directory, link.as_ref(), &store.layout().blob(blob)).unwrap();
        }
        publish(&store, "x", &["l"]);
        assert!(!store.blobs().contains(&config, None));
        assert!(!store.blobs().contains(&layer, None));
    }
}
