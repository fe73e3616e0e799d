//! Removing containers, and what killed processes left of them.

use super::{ContainerError, sweep_image_trees};
use crate::engine::namespace::enter_ranges;
use crate::progress::{Progress, Silent, Task, Unit};
use crate::rootfs::remove_tree;
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
    let retired = store.retire_container(container)?;
    let name = container.names.first();
    let name = name.map_or(container.id.as_str(), String::as_str);
    let task = progress.watch(&format!("removing {name}"), Unit::Files);
    clear(&retired, &*task)?;
    sweep(store, Age::DAY)?;
    Ok(())
}

/// Removes what killed processes left half made or half removed, and returns how many there were.
/// What another host may still be at work on only goes from `age` on.
///
/// # Errors
/// The file system refuses.
pub fn sweep(store: &Store, age: Age) -> Result<u64, ContainerError> {
    sweep_image_trees(store, KeptTrees::All)?;
    let mut count = 0;
    for leftover in store.abandoned_containers(age) {
        discard(&leftover)?;
        count += 1;
    }
    Ok(count)
}

pub(super) fn discard(staged: &StagedContainer) -> Result<(), ContainerError> {
    clear(staged, &Silent)
}

fn clear(staged: &StagedContainer, task: &dyn Task) -> Result<(), ContainerError> {
    match remove_tree(staged.path(), task) {
        // What has run with id ranges may belong to others, whom the same ranges reach.
        Err(error) if error.is_denied() && enter_ranges() => Ok(remove_tree(staged.path(), task)?),
        removed => Ok(removed?),
    }
}
