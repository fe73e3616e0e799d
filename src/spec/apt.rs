//! A setting for Debian's apt in mode R1.
//!
//! apt downloads as the user `_apt`, and fails if it cannot switch to that user, as in a user
//! namespace with one user. So a file is bound beside the image's own settings that tells apt to
//! stay root; apt reads it after the others. See apt.conf(5), `APT::Sandbox::User`.

use super::accounts::generated_path;
use super::guest::{FileType, GuestView, resolve_guest_path};
use super::path::GuestPath;
use super::volume::{Access, BindPlan, Volume};
use super::{ContainerFacts, ExecMode, Identity, Preparation, SpecError};

const SETTINGS_DIRECTORY: &str = "/etc/apt/apt.conf.d";
const FILE_NAME: &str = "zz-udocker";
const TEXT: &str =
    "// From udocker: there are no other users in mode R1.\nAPT::Sandbox::User \"root\";\n";

/// Adds the setting for root in mode R1, if the container has apt.
///
/// # Errors
/// The file cannot be bound.
pub(super) fn plan_apt(
    identity: Identity,
    container: &ContainerFacts,
    binds: &mut BindPlan,
    view: &dyn GuestView,
) -> Result<(), SpecError> {
    let is_root = matches!(identity, Identity::Emulated { uid: 0, .. });
    if container.mode != ExecMode::R1 || !is_root {
        return Ok(());
    }
    let settings = GuestPath::root().join(SETTINGS_DIRECTORY);
    let found = resolve_guest_path(view, &container.root, &binds.binds, &settings);
    if !found.is_ok_and(|found| found.file_type == Some(FileType::Directory)) {
        return Ok(());
    }
    let path = generated_path(&container.directory, "apt", TEXT);
    let volume = Volume {
        source: path.clone(),
        target: settings.join(FILE_NAME),
        // A read-only bind would cost a remount and protect nothing.
        access: Access::ReadWrite,
        tmpfs: None,
    };
    binds.preparations.push(Preparation::Generate {
        path,
        text: TEXT.to_string(),
    });
    binds.add(volume, &container.root, view)?;
    Ok(())
}
