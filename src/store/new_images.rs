//! New images: from archives, and as further names of stored ones.
//!
//! Unlike a pull, these do not replace an image. All images of one call appear, or none does.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::error::StoreError;
use super::images::{Form, IMAGE_FILES, Image};
use super::links;
use super::{Lock, Store};
use crate::host::fs::{self as host_fs, FsError, read_limited, write_atomic};
use crate::oci::{Digest, LocalName, MANIFEST_MAX_BYTES};

/// An image about to be published in form v2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewImage {
    /// Its name.
    pub name: LocalName,
    /// The file with its manifest, so that many large manifests take no memory. It is copied.
    pub manifest: PathBuf,
    /// The blobs of the manifest.
    pub blobs: Rc<[NewBlob]>,
}

/// A file that is to become a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBlob {
    /// The digest of its content.
    pub digest: Digest,
    /// The number of its bytes.
    pub size: u64,
    /// Its path in the staging directory of an import, from where it is moved.
    pub source: PathBuf,
}

impl Store {
    /// Publishes images with their blobs. An image that is there already with the same manifest
    /// gets back the blobs that it lacks. One that udocker.py loaded has no manifest to compare,
    /// and is replaced if it is damaged.
    ///
    /// # Errors
    /// `StoreError::ImageExists` if another image has one of the names; `NameClash`; `Fs` if a file
    /// cannot be read, moved or written. Nothing has changed then, and all files are in their old
    /// places.
    pub fn publish_new(&self, images: &[NewImage]) -> Result<Vec<Image>, StoreError> {
        let _lock = Lock::exclusive(&self.layout.images_lock())?;
        let mut missing = Vec::new();
        for new in images {
            let image = self.image_at(&new.name);
            if !image.exists() {
                missing.push(image);
            } else if !has_manifest(&image, &read_manifest(&new.manifest)?)
                && !is_damaged_v1(&image)
            {
                return Err(StoreError::ImageExists(new.name.to_string()));
            }
        }
        let mut moved = Vec::new();
        let result = self.write_images(images, &mut moved);
        if result.is_err() {
            // The first error is returned. Files are moved back before their images are erased,
            // which would remove them.
            for blob in moved {
                let _ = fs::rename(self.layout.blob(&blob.digest), &blob.source);
            }
            for image in missing {
                if image.directory.is_dir() {
                    let _ = self.erase_image(&image);
                }
            }
        }
        result?;
        Ok(images.iter().map(|new| self.image_at(&new.name)).collect())
    }

    fn write_images<'n>(
        &self,
        images: &'n [NewImage],
        moved: &mut Vec<&'n NewBlob>,
    ) -> Result<(), StoreError> {
        for blob in images.iter().flat_map(|new| new.blobs.iter()) {
            if !self.blobs().contains(&blob.digest, Some(blob.size)) {
                let is_new = !self.layout.blob(&blob.digest).exists();
                self.move_in_place(blob)?;
                // A blob that replaces a damaged one stays, since other images may need it.
                moved.extend(is_new.then_some(blob));
            }
        }
        for new in images {
            let digests: Vec<Digest> = new.blobs.iter().map(|blob| blob.digest.clone()).collect();
            self.write_image(&new.name, &read_manifest(&new.manifest)?, &digests)?;
        }
        Ok(())
    }

    /// Moves a file to its place as a blob.
    fn move_in_place(&self, blob: &NewBlob) -> Result<(), StoreError> {
        let file = File::open(&blob.source).map_err(FsError::at("open", &blob.source))?;
        file.sync_data()
            .map_err(FsError::at("sync", &blob.source))?;
        self.blobs().name(&blob.source, &blob.digest)?;
        Ok(())
    }

    /// Gives an image a further name.
    ///
    /// # Errors
    /// `StoreError::Protected` if the image is protected, as in udocker.py; `ImageExists` if the
    /// name is taken; `NameClash`; `NoImage` if the image is gone; `Fs` if a file cannot be read or
    /// written. Nothing has changed then.
    pub fn tag_image(&self, source: &Image, name: &LocalName) -> Result<Image, StoreError> {
        let _lock = Lock::exclusive(&self.layout.images_lock())?;
        if source.is_protected() {
            return Err(StoreError::Protected(source.name.to_string()));
        }
        self.ensure_possible(name)?;
        let image = self.image_at(name);
        if image.exists() {
            return Err(StoreError::ImageExists(name.to_string()));
        }
        if !source.exists() {
            return Err(StoreError::NoImage(source.name.to_string()));
        }
        if image.directory.is_dir() {
            // Links that a killed process has left would count as part of the new image.
            self.erase_image(&image)?;
        }
        let result = self.copy_image(source, &image);
        if result.is_err() && image.directory.is_dir() {
            // The first error is returned.
            let _ = self.erase_image(&image);
        }
        result?;
        Ok(image)
    }

    fn copy_image(&self, source: &Image, image: &Image) -> Result<(), StoreError> {
        host_fs::create_dir_all(&image.directory)?;
        for link in source.links()? {
            let blob = links::link_target(&source.directory.join(&link))?
                .ok_or_else(|| StoreError::NoImage(source.name.to_string()))?;
            let blob = self.layout.layers.join(blob);
            links::link(&image.directory, link.as_ref(), &blob)?;
        }
        for entry in IMAGE_FILES {
            let path = source.directory.join(entry);
            if path.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
                let bytes = read_limited(&path, MANIFEST_MAX_BYTES as u64)?;
                write_atomic(&image.directory.join(entry), &bytes, 0o644)?;
            }
        }
        // Another host may not see the lock, and may have begun to remove the source before the new
        // links were made.
        if !source.exists() {
            return Err(StoreError::NoImage(source.name.to_string()));
        }
        let tag_line = image.tag_line(&self.layout.repos);
        write_atomic(&image.directory.join("TAG"), tag_line.as_bytes(), 0o644)?;
        Ok(())
    }
}

fn has_manifest(image: &Image, manifest: &[u8]) -> bool {
    read_manifest(&image.directory.join("manifest")).is_ok_and(|bytes| bytes == manifest)
}

fn is_damaged_v1(image: &Image) -> bool {
    image.form() == Form::V1 && image.content().is_err()
}

fn read_manifest(path: &Path) -> Result<Vec<u8>, FsError> {
    read_limited(path, MANIFEST_MAX_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Reference;
    use crate::store::testing::store;

    fn name(text: &str) -> LocalName {
        text.parse::<Reference>().unwrap().local_name()
    }

    fn image(directory: &Path, text: &str, contents: &[&str]) -> NewImage {
        let blobs: Vec<NewBlob> = contents
            .iter()
            .map(|content| {
                let source = directory.join(content);
                fs::write(&source, content).unwrap();
                NewBlob {
                    digest: Digest::of(content.as_bytes()),
                    size: content.len() as u64,
                    source,
                }
            })
            .collect();
        let describe = |blob: &NewBlob| serde_json::json!({"digest": blob.digest, "size": 1});
        let manifest = serde_json::json!({
            "config": describe(&blobs[0]),
            "layers": blobs[1..].iter().map(describe).collect::<Vec<_>>(),
        });
        let path = directory.join(format!("{}.manifest", contents.concat()));
        fs::write(&path, manifest.to_string()).unwrap();
        NewImage {
            name: name(text),
            manifest: path,
            blobs: blobs.into(),
        }
    }

    fn is_untouched(store: &Store) -> bool {
        let count = |path: &Path| fs::read_dir(path).unwrap().count();
        // The lock file stays.
        count(&store.layout().repos) == 0 && count(&store.layout().layers) == 1
    }

    #[test]
    fn images_are_published_all_or_none() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let good = image(directory.path(), "good", &["{}", "layer"]);
        let mut bad = image(directory.path(), "bad", &["{} ", "other"]);
        Rc::get_mut(&mut bad.blobs).unwrap()[1].source = directory.path().join("missing");
        assert!(store.publish_new(&[good.clone(), bad]).is_err());
        assert!(is_untouched(&store));
        // A file in the place of the second image's directory, found once the first is written.
        let obstacle = store.layout().repos.join("x");
        fs::write(&obstacle, "").unwrap();
        let bad = image(directory.path(), "x/bad", &["{} ", "other"]);
        assert!(store.publish_new(&[good.clone(), bad]).is_err());
        fs::remove_file(obstacle).unwrap();
        assert!(is_untouched(&store));
        assert!(good.blobs.iter().all(|blob| blob.source.exists()));

        store.publish_new(std::slice::from_ref(&good)).unwrap();
        assert_eq!(
            store.image("good").unwrap().content().unwrap().layers.len(),
            1
        );
        // Publishing the same again brings back blobs that are missing or damaged.
        store.publish_new(std::slice::from_ref(&good)).unwrap();
        let layer = store.layout().blob(&Digest::of(b"layer"));
        let damages: [&dyn Fn(); 3] = [
            &|| fs::remove_file(&layer).unwrap(),
            &|| fs::write(&layer, "lay").unwrap(),
            &|| {
                fs::write(&layer, "lawyer").unwrap();
                store.blobs().mark_damaged(&Digest::of(b"layer")).unwrap();
            },
        ];
        for damage in damages {
            damage();
            let again = image(directory.path(), "good", &["{}", "layer"]);
            store.publish_new(&[again]).unwrap();
            assert_eq!(fs::read_to_string(&layer).unwrap(), "layer");
        }
        // Another image of this name is refused.
        let other = image(directory.path(), "good", &["{}", "another"]);
        assert!(matches!(
            store.publish_new(&[other]),
            Err(StoreError::ImageExists(_))
        ));
    }

    #[test]
    fn an_image_that_udocker_py_loaded_is_replaced_if_it_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let loaded = store.layout().repos.join("old/1");
        fs::create_dir_all(&loaded).unwrap();
        for (name, content) in [
            ("TAG", ""),
            ("v1", ""),
            ("ancestry", r#"["aa"]"#),
            ("container.json", "{}"),
            ("aa.layer", "layer"),
        ] {
            fs::write(loaded.join(name), content).unwrap();
        }
        let new = image(directory.path(), "old:1", &["{}", "layer"]);
        assert!(matches!(
            store.publish_new(std::slice::from_ref(&new)),
            Err(StoreError::ImageExists(_))
        ));
        fs::remove_file(loaded.join("aa.layer")).unwrap();
        let replaced = store.publish_new(&[new]).unwrap().remove(0);
        assert_eq!(replaced.form(), Form::V2);
        assert_eq!(replaced.content().unwrap().layers.len(), 1);
    }

    #[test]
    fn a_tag_shares_the_blobs_and_survives_its_source() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        store
            .publish_new(&[image(directory.path(), "a/b:1", &["{}", "layer"])])
            .unwrap();
        let source = store.image("a/b:1").unwrap();
        let tagged = store.tag_image(&source, &name("quay.io/x/y/z:2")).unwrap();
        assert!(matches!(
            store.tag_image(&source, &tagged.name),
            Err(StoreError::ImageExists(_))
        ));
        store.remove_image(&source).unwrap();
        let layers = tagged.content().unwrap().layers;
        assert_eq!(fs::read_to_string(&layers[0].path).unwrap(), "layer");
    }

    #[test]
    fn a_tag_has_no_file_of_an_image_that_was_half_removed() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let new = |text, layer| image(directory.path(), text, &["{}", layer]);
        store.publish_new(&[new("a:1", "layer")]).unwrap();
        store.publish_new(&[new("b:1", "old")]).unwrap();
        // A killed `rmi` has left the image without TAG. The marker of form v1 would take
        // precedence.
        let left = store.image("b:1").unwrap().directory;
        fs::remove_file(left.join("TAG")).unwrap();
        fs::write(left.join("v1"), "").unwrap();
        let source = store.image("a:1").unwrap();
        let tagged = store.tag_image(&source, &name("b:1")).unwrap();
        let layers = tagged.content().unwrap().layers;
        assert_eq!(fs::read_to_string(&layers[0].path).unwrap(), "layer");
        assert_eq!(tagged.links().unwrap(), source.links().unwrap());
        assert!(!store.layout().blob(&Digest::of(b"old")).exists());
    }

    #[test]
    fn failed_tag_leaves_no_trace() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        store
            .publish_new(&[image(directory.path(), "a:1", &["{}", "layer"])])
            .unwrap();
        let source = store.image("a:1").unwrap();
        // A file in the place of the new image's directory.
        fs::write(store.layout().repos.join("taken"), "").unwrap();
        assert!(store.tag_image(&source, &name("taken/x:1")).is_err());
        source.set_protected(true).unwrap();
        assert!(matches!(
            store.tag_image(&source, &name("b:1")),
            Err(StoreError::Protected(_))
        ));
        assert_eq!(store.images(), [source]);
    }
}
