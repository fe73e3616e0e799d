//! Removing containers, and leftovers of killed processes.

use std::io;

use super::{ContainerError, sweep_image_trees};
use crate::engine::namespace::enter_ranges;
use crate::host::process;
use crate::progress::{Progress, Silent, Task, Unit};
use crate::rootfs::{remove_tree, require_unmounted};
use crate::store::{Age, Container, KeptTrees, StagedContainer, Store};

/// Removes a container with its names. It is taken out of the listing first; if the process is
/// killed then, a later sweep removes the rest.
///
/// # Errors
/// The container is protected, or something is mounted in it: it stays whole then. Another process
/// has removed it; or a file cannot be removed.
pub fn remove(
    store: &Store,
    container: &Container,
    progress: &dyn Progress,
) -> Result<(), ContainerError> {
    // A refusal leaves the container whole.
    require_unmounted(&container.directory)?;
    let retired = store.retire_container(container)?;
    let name = container.names.first();
    let name = name.map_or(container.id.as_str(), String::as_str);
    let task = progress.watch(&format!("removing {name}"), Unit::Files);
    clear(&retired, &*task)?;
    sweep(store, Age::DAY, KeptTrees::All);
    Ok(())
}

/// The result of a sweep.
#[derive(Debug, Default)]
pub struct Swept {
    /// The number of leftovers that were removed.
    pub containers: u64,
    /// The errors for others. They do no harm, so callers with another purpose may ignore them.
    pub failures: Vec<ContainerError>,
}

/// Removes containers that killed processes left half made or half removed, and trees of images
/// except for `kept`. Leftovers that may be in use on another host are removed from `age` on.
pub fn sweep(store: &Store, age: Age, kept: KeptTrees) -> Swept {
    let mut swept = Swept {
        containers: 0,
        failures: sweep_image_trees(store, kept),
    };
    for leftover in store.abandoned_containers(age) {
        match discard(&leftover) {
            Ok(()) => swept.containers += 1,
            Err(error) => swept.failures.push(error),
        }
    }
    swept
}

pub(super) fn discard(staged: &StagedContainer) -> Result<(), ContainerError> {
    clear(staged, &Silent)
}

fn clear(staged: &StagedContainer, task: &dyn Task) -> Result<(), ContainerError> {
    match remove_tree(staged.path(), task) {
        Err(error) if error.is_denied() => {
            // After a run with id ranges, files may belong to other ids, which the same ranges
            // reach. Entering them cannot be undone, so a child process does it.
            let removed = process::run_in_fork(|| {
                if !enter_ranges() {
                    return Err(io::ErrorKind::PermissionDenied.into());
                }
                remove_tree(staged.path(), &Silent).map_err(io::Error::other)
            });
            Ok(removed.or(Err(error))?)
        }
        removed => Ok(removed?),
    }
}
