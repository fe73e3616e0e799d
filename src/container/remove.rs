//! Removing containers, and what killed processes left of them.

use std::io;

use super::{ContainerError, sweep_image_trees};
use crate::engine::namespace::enter_ranges;
use crate::host::process;
use crate::progress::{Progress, Silent, Task, Unit};
use crate::rootfs::{remove_tree, require_unmounted};
use crate::store::{Age, Container, KeptTrees, StagedContainer, Store};

/// Removes a container with its names. It leaves the listing at once; what a kill leaves of it
/// is swept away later.
///
/// # Errors
/// It is protected, or the file system refuses.
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

/// What a sweep has done.
#[derive(Debug, Default)]
pub struct Swept {
    /// How many leftovers are gone.
    pub containers: u64,
    /// Why others are not. They harm nobody: who has other work to do may pass over that.
    pub failures: Vec<ContainerError>,
}

/// Removes what killed processes left half made or half removed, and the trees of images but for
/// those in `kept`. What another host may still be at work on only goes from `age` on.
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
            // What has run with id ranges may belong to others, whom the same ranges reach. Whoever
            // goes on to run a container goes on as who he is.
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
