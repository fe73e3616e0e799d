//! Fingerprints: the state of an image's containers when they were created, so that a container
//! that has not changed can be copied.
//!
//! ```text
//! <chain id>@<boot id>.<container id>     the fingerprint, see `rootfs`
//! ```
//! A fingerprint is valid in the boot in which it was written: after a crash, a file may have lost
//! its content together with the time of its last change. So it need not be synced. One that is
//! incomplete, or whose container is gone, matches nothing.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::time::SystemTime;

use super::Store;
use super::container_names::ContainerId;
use super::error::StoreError;
use crate::host::facts::boot_id;
use crate::host::fs::{self as host_fs, FsError};
use crate::oci::ChainId;

impl Store {
    /// Records with `write` the fingerprint of the container `id`, whose tree is that of the layers
    /// with the chain id `chain`.
    ///
    /// # Errors
    /// `StoreError::Fs` if the file cannot be created or written.
    pub fn write_fingerprint(
        &self,
        chain: &ChainId,
        id: &ContainerId,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let Some(tree) = tree_name(chain) else {
            return Ok(());
        };
        let directory = self.layout.fingerprints();
        host_fs::create_dir_all(&directory)?;
        let path = directory.join(format!("{tree}.{id}"));
        let written = File::create(&path)
            .map(BufWriter::new)
            .and_then(|mut file| {
                write(&mut file)?;
                file.flush()
            });
        Ok(written.map_err(FsError::at("write", &path))?)
    }

    /// The containers that were created from layers with the chain id `chain`, the youngest first,
    /// each with its fingerprint.
    pub fn fingerprints(
        &self,
        chain: &ChainId,
    ) -> impl Iterator<Item = (ContainerId, BufReader<File>)> + use<> {
        let wanted = tree_name(chain);
        let listing = fs::read_dir(self.layout.fingerprints());
        let entries = listing.into_iter().flatten().flatten();
        let mut found: Vec<_> = entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let (tree, id) = name.rsplit_once('.')?;
                let id = ContainerId::parse(id)?;
                let made = entry.metadata().and_then(|meta| meta.modified());
                let made = made.unwrap_or(SystemTime::UNIX_EPOCH);
                (Some(tree) == wanted.as_deref()).then(|| (made, id, entry.path()))
            })
            .collect();
        found.sort();
        let youngest_first = found.into_iter().rev();
        youngest_first.filter_map(|(_, id, path)| {
            Some((id, BufReader::new(host_fs::open_regular(&path).ok()?)))
        })
    }

    /// Removes the fingerprints of other boots, and of containers that are neither listed nor being
    /// created.
    ///
    /// # Errors
    /// `StoreError::Fs` if one cannot be removed; the others are removed all the same.
    pub fn sweep_fingerprints(&self) -> Result<(), StoreError> {
        let Ok(entries) = fs::read_dir(self.layout.fingerprints()) else {
            return Ok(());
        };
        let boot = boot_id();
        let staging = self.layout.container_staging();
        // It may be renamed from the staging directory between the first two checks.
        let exists = |id: &ContainerId| {
            let is_listed = || self.layout.container(id).is_dir();
            is_listed() || staging.join(id.as_str()).is_dir() || is_listed()
        };
        let mut swept = Ok(());
        for entry in entries.flatten() {
            let name = entry.file_name();
            let parts = name.to_str().and_then(|name| {
                let (tree, id) = name.rsplit_once('.')?;
                Some((tree.split_once('@')?.1, ContainerId::parse(id)?))
            });
            let is_of_use = parts
                .is_some_and(|(its_boot, id)| Some(its_boot) == boot.as_deref() && exists(&id));
            if !is_of_use {
                swept = swept.and(host_fs::remove_file(&entry.path()));
            }
        }
        Ok(swept?)
    }
}

/// The name of an image's tree in this boot; `None` if the boot has no id.
pub(super) fn tree_name(chain: &ChainId) -> Option<String> {
    Some(format!("{}@{}", chain.0, boot_id()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{DiffId, Digest};
    use crate::store::testing::store;

    fn chain(text: &str) -> ChainId {
        ChainId::of(&[DiffId(Digest::of(text.as_bytes()))]).unwrap()
    }

    #[test]
    fn containers_are_found_by_the_chain_id_of_their_layers() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let ids = ["first", "other", "second"].map(|text| {
            let tree = if text == "other" { "b" } else { "a" };
            let staged = store.stage_container().unwrap();
            let write = |file: &mut dyn Write| file.write_all(text.as_bytes());
            store
                .write_fingerprint(&chain(tree), staged.id(), write)
                .unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
            // Another process sweeps before the container is published.
            store.sweep_fingerprints().unwrap();
            store.publish_container(staged).unwrap().id
        });
        let found = || -> Vec<_> {
            let all = store.fingerprints(&chain("a"));
            all.map(|(id, file)| (id, io::read_to_string(file).unwrap()))
                .collect()
        };
        let [first, _, second] = ids;
        let expected = [
            (second.clone(), "second".to_string()),
            (first.clone(), "first".to_string()),
        ];
        assert_eq!(found(), expected);
        assert_eq!(store.fingerprints(&chain("c")).count(), 0);

        // Those of another boot and of a container that is gone are removed.
        fs::remove_dir_all(store.layout.container(&second)).unwrap();
        let path = |boot: &str| {
            let name = format!("{}@{boot}.{first}", chain("a").0);
            store.layout.fingerprints().join(name)
        };
        fs::write(path("0b9c"), "").unwrap();
        fs::write(store.layout.fingerprints().join("something"), "").unwrap();
        store.sweep_fingerprints().unwrap();
        assert_eq!(found(), [(first.clone(), "first".to_string())]);
        assert!(path(&boot_id().unwrap()).exists());
        let left = fs::read_dir(store.layout.fingerprints()).unwrap().count();
        assert_eq!(left, 2);
    }
}
