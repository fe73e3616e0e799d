//! The passwd and group that the guest sees: found, completed, and bound in where needed.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::guest::{FileType, GuestView, resolve_guest_path};
use super::path::{BeneathPath, GuestPath, HostPath};
use super::user::{AccountFiles, Change, UserPlan, UserSpec, plan_user};
use super::volume::{Access, Bind, BindPlan, Volume};
use super::{Accounts, ContainerFacts, HostFacts, Preparation, RunRequest, SpecError};
use crate::oci::ProcessConfig;

/// Passwd and group of the host that are larger than this are cut; directory services keep such
/// lists elsewhere.
pub(super) const HOST_FILE_LIMIT: usize = 16 << 20;

/// The same for those of a container, which are a stranger's.
const CONTAINER_FILE_LIMIT: usize = 2 << 20;

/// Decides on the user, and adds what its passwd and group take.
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
    /// Where it is in the root tree, if it is a file there.
    place: Option<BeneathPath>,
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
        let read = |place: &BeneathPath, limit| {
            let bytes = view.read(place, limit).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        // A circle of links is as good as no file.
        let found = resolve_guest_path(view, root, binds, &GuestPath::root().join(path)).ok();
        // Whatever it is: there are no accounts in a device.
        let is_bound = found
            .as_ref()
            .is_some_and(|found| binds.iter().any(|bind| bind.target == found.guest));
        let host = found
            .filter(|found| found.file_type == Some(FileType::File))
            .map(|found| found.host);
        let text = match &host {
            _ if accounts == Accounts::Host && !is_bound => {
                let place = BeneathPath::of(HostPath::root().beneath(Path::new(path)));
                read(&place, HOST_FILE_LIMIT)
            }
            Some(place) => read(place, CONTAINER_FILE_LIMIT),
            None => String::new(),
        };
        AccountFile {
            path,
            text,
            place: host.filter(|host| host.base == *root),
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
        let text = match (change, &self.place) {
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

/// `<directory>/passwd-<16 hex digits of SHA-256>`.
pub(super) fn generated_path(directory: &HostPath, path: &str, text: &str) -> HostPath {
    let digest: String = Sha256::digest(text)
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let name = path.rsplit('/').next().unwrap_or(path);
    directory.beneath(Path::new(&format!("{name}-{digest}")))
}
