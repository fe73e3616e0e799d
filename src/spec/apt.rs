//! Debian's apt in mode R1.
//!
//! apt downloads as the user `_apt` and checks that it has really become that user. In namespaces
//! with one user nobody can, so it gets a setting that tells it to stay root; see apt.conf(5),
//! `APT::Sandbox::User`. It is bound beside the image's own settings, and read after them.

use super::accounts::generated_path;
use super::guest::{FileType, GuestView, resolve_guest_path};
use super::path::GuestPath;
use super::volume::{Access, BindPlan, Volume};
use super::{ContainerFacts, ExecMode, Identity, Preparation, SpecError};

const SETTINGS: &str = "/etc/apt/apt.conf.d";
const OURS: &str = "zz-udocker";
const TEXT: &str =
    "// From udocker: no other user can be had in mode R1.\nAPT::Sandbox::User \"root\";\n";

/// Adds the setting where there is an apt that needs it.
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
    let settings = GuestPath::root().join(SETTINGS);
    let found = resolve_guest_path(view, &container.root, &binds.binds, &settings);
    if !found.is_ok_and(|found| found.file_type == Some(FileType::Directory)) {
        return Ok(());
    }
    let path = generated_path(&container.directory, "apt", TEXT);
    let volume = Volume {
        source: path.clone(),
        target: settings.join(OURS),
        // Read-only would cost a remount and protect nothing.
        access: Access::ReadWrite,
        tmpfs: None,
    };
    binds.preparations.push(Preparation::Generate {
        path,
        text: TEXT.to_string(),
    });
    Ok(binds.add(volume, &container.root, view)?)
}
