//! Finds the guest's passwd and group files, and plans their changes and binds.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::guest::{FileType, GuestView, resolve_guest_path};
use super::path::{BeneathPath, GuestPath, HostPath};
use super::user::{AccountFiles, Change, UserPlan, UserSpec, plan_user};
use super::volume::{Access, Bind, BindPlan, Volume};
use super::{Accounts, ContainerFacts, HostFacts, Preparation, RunRequest, SpecError};
use crate::oci::ProcessConfig;

/// The host's files are read up to this size; sites with more accounts use a directory service.
pub(super) const HOST_FILE_LIMIT: usize = 16 << 20;

/// A container's files are read up to this size: an image is not trusted.
const CONTAINER_FILE_LIMIT: usize = 2 << 20;

/// Plans the user, and adds the binds and preparations for its passwd and group.
///
/// # Errors
/// The image's `User` is malformed, the user or group is unknown, or a file cannot be bound.
pub(super) fn plan_accounts(
    request: &RunRequest,
    image: &ProcessConfig,
    host: &HostFacts,
    container: &ContainerFacts,
    binds: &mut BindPlan,
    view: &dyn GuestView,
) -> Result<UserPlan, SpecError> {
    let image_user = match image.user.trim() {
        "" => None,
        text => Some(UserSpec::parse(text).map_err(SpecError::ImageUser)?),
    };
    let requested = request.user.as_ref().or(image_user.as_ref());
    let files = ["/etc/passwd", "/etc/group"].map(|path| {
        AccountFile::look_up(path, request.accounts, &container.root, &binds.binds, view)
    });
    let [passwd, group] = &files;
    let plan = plan_user(
        requested,
        request.accounts,
        AccountFiles {
            passwd: &passwd.text,
            group: &group.text,
            bound: passwd.is_bound || group.is_bound,
        },
        &host.caller,
    )?;
    for (file, change) in files.iter().zip([&plan.passwd, &plan.group]) {
        file.apply(change, container, binds, view)?;
    }
    Ok(plan)
}

/// One of the guest's two account files.
struct AccountFile {
    path: &'static str,
    text: String,
    /// The file in the root tree, if there is one.
    in_root: Option<BeneathPath>,
    is_bound: bool,
}

impl AccountFile {
    fn look_up(
        path: &'static str,
        accounts: Accounts,
        root: &HostPath,
        binds: &[Bind],
        view: &dyn GuestView,
    ) -> AccountFile {
        let read = |path: &BeneathPath, limit| {
            let bytes = view.read(path, limit).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        // Circular links count as no file.
        let found = resolve_guest_path(view, root, binds, &GuestPath::root().join(path)).ok();
        // Files of any type count: a device has no accounts.
        let is_bound = found
            .as_ref()
            .is_some_and(|found| binds.iter().any(|bind| bind.target == found.guest));
        let host = found
            .filter(|found| found.file_type == Some(FileType::File))
            .map(|found| found.host);
        let text = match &host {
            _ if accounts == Accounts::Host && !is_bound => {
                let path = BeneathPath::of(HostPath::root().beneath(Path::new(path)));
                read(&path, HOST_FILE_LIMIT)
            }
            Some(path) => read(path, CONTAINER_FILE_LIMIT),
            None => String::new(),
        };
        AccountFile {
            path,
            text,
            in_root: host.filter(|host| host.base == *root),
            is_bound,
        }
    }

    fn apply(
        &self,
        change: &Change,
        container: &ContainerFacts,
        binds: &mut BindPlan,
        view: &dyn GuestView,
    ) -> Result<(), SpecError> {
        let text = match (change, &self.in_root) {
            (Change::None, _) => return Ok(()),
            (Change::Append(lines), Some(path)) => {
                binds.preparations.push(Preparation::Append {
                    path: path.clone(),
                    text: lines.clone(),
                });
                return Ok(());
            }
            (Change::Append(lines), None) => format!("{}{lines}", self.text),
            (Change::Replace(text), _) => text.clone(),
        };
        let path = generated_path(&container.directory, self.path, &text);
        let volume = Volume {
            source: path.clone(),
            target: GuestPath::root().join(self.path),
            access: Access::ReadWrite,
            tmpfs: None,
        };
        binds
            .preparations
            .push(Preparation::Generate { path, text });
        binds.add(volume, &container.root, view)?;
        Ok(())
    }
}

/// Returns the path of a generated file, such as `<directory>/passwd-<16 hex digits of SHA-256>`.
pub(super) fn generated_path(directory: &HostPath, path: &str, text: &str) -> HostPath {
    let digest: String = Sha256::digest(text)
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let name = path.rsplit('/').next().unwrap_or(path);
    directory.beneath(Path::new(&format!("{name}-{digest}")))
}
