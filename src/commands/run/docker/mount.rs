//! Parses the values of `--mount`, `--tmpfs` and `--add-host`.

use std::net::IpAddr;

use crate::commands::options::parse_bool;
use crate::spec::{Access, GuestPath, HostPath, Tmpfs, TmpfsError, Volume, VolumeError};

/// A parsed `--mount`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mounted {
    /// A bind of a host path.
    Bind(Volume),
    /// A directory that is empty at the start and gone at the end.
    Empty(GuestPath, Tmpfs),
    /// A volume of the container itself, which needs no mount: the container keeps its files.
    Nothing,
}

/// An invalid mount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MountError {
    #[error("invalid mount '{0}': '{1}' is not known")]
    UnknownPart(String, String),
    #[error("invalid mount '{0}': '{1}' is neither true nor false")]
    NeitherTrueNorFalse(String, String),
    #[error("invalid mount '{0}': it has no {1}")]
    Missing(String, &'static str),
    #[error("invalid mount '{0}': the path inside the container must be absolute")]
    RelativeTarget(String),
    #[error("invalid mount '{0}': there are no named volumes here, bind a directory by its path")]
    NamedVolume(String),
    #[error("invalid mount '{0}': mounts of type '{1}' do not exist here")]
    UnknownType(String, String),
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error("invalid mount '{0}': {1}")]
    Tmpfs(String, #[source] TmpfsError),
}

/// Parses `type=bind,source=/host,target=/inside,readonly`.
pub(super) fn parse_mount(text: &str) -> Result<Mounted, MountError> {
    let owned = || text.to_string();
    let (mut kind, mut source, mut target) = ("volume".to_string(), None, None);
    let mut access = Access::ReadWrite;
    let mut tmpfs = Vec::new();
    for field in fields(text) {
        let (key, value) = field.split_once('=').unwrap_or((&field, ""));
        match key.trim().to_ascii_lowercase().as_str() {
            "type" => kind = value.to_ascii_lowercase(),
            "source" | "src" => source = Some(value.to_string()),
            "target" | "destination" | "dst" => target = Some(value.to_string()),
            "readonly" | "ro" => access = read_only(&field, text)?,
            "consistency" => {}
            "tmpfs-size" | "tmpfs-mode" => tmpfs.push(field["tmpfs-".len()..].to_string()),
            known if known.starts_with("bind-") || known.starts_with("volume-") => {}
            _ => return Err(MountError::UnknownPart(owned(), field)),
        }
    }
    let target = target.ok_or_else(|| MountError::Missing(owned(), "target"))?;
    let target = guest_path(&target, text)?;
    match (kind.as_str(), source) {
        ("bind", None) => Err(MountError::Missing(owned(), "source")),
        ("bind", Some(source)) => Ok(Mounted::Bind(Volume {
            source: HostPath::new(source).map_err(|source| VolumeError::RelativeSource {
                volume: owned(),
                source,
            })?,
            target,
            access,
            tmpfs: None,
        })),
        ("tmpfs", _) => {
            let options = Tmpfs::parse(&tmpfs.join(","));
            let options = options.map_err(|error| MountError::Tmpfs(owned(), error))?;
            Ok(Mounted::Empty(target, options))
        }
        ("volume", None) => Ok(Mounted::Nothing),
        ("volume", Some(_)) => Err(MountError::NamedVolume(owned())),
        _ => Err(MountError::UnknownType(owned(), kind)),
    }
}

/// Parses `readonly[=BOOL]`.
fn read_only(field: &str, text: &str) -> Result<Access, MountError> {
    let is_set = field.split_once('=').map(|(_, value)| parse_bool(value));
    match is_set.unwrap_or(Ok(true)) {
        Ok(true) => Ok(Access::ReadOnly),
        Ok(false) => Ok(Access::ReadWrite),
        Err(_) => Err(MountError::NeitherTrueNorFalse(
            text.to_string(),
            field.to_string(),
        )),
    }
}

/// Parses `/inside[:OPTIONS]`.
pub(super) fn parse_tmpfs(text: &str) -> Result<(GuestPath, Tmpfs), MountError> {
    let (path, options) = text.split_once(':').unwrap_or((text, ""));
    let options =
        Tmpfs::parse(options).map_err(|error| MountError::Tmpfs(text.to_string(), error))?;
    Ok((guest_path(path, text)?, options))
}

fn guest_path(path: &str, text: &str) -> Result<GuestPath, MountError> {
    let path = GuestPath::new(path).map_err(|_| MountError::RelativeTarget(text.to_string()))?;
    if path.is_root() {
        return Err(VolumeError::CoversRoot(text.to_string()).into());
    }
    Ok(path)
}

/// Splits at commas outside of double quotes, as CSV does.
fn fields(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    for character in text.chars() {
        match character {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            c => fields
                .last_mut()
                .expect("the first field is there from the start")
                .push(c),
        }
    }
    fields
}

/// Parses `NAME:ADDRESS` or `NAME=ADDRESS` into a line of `/etc/hosts`; `host-gateway` is this
/// machine. `None` if the text is neither.
pub(super) fn parse_host(text: &str) -> Option<String> {
    let (name, address) = text.split_once(['=', ':'])?;
    let address = match address.trim_matches(['[', ']']) {
        "host-gateway" => "127.0.0.1",
        address => address,
    };
    let address: IpAddr = address.parse().ok()?;
    let is_name = !name.is_empty() && !name.contains(char::is_whitespace);
    is_name.then(|| format!("{address}\t{name}\n"))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn mounts_are_parsed() {
        let bind = |text: &str| Ok(Mounted::Bind(Volume::parse(OsStr::new(text)).unwrap()));
        let empty = |path: &str, options: &str| {
            let tmpfs = Tmpfs::parse(options).unwrap();
            Ok(Mounted::Empty(GuestPath::new(path).unwrap(), tmpfs))
        };
        for (text, expected) in [
            ("type=bind,source=/a,target=/b", bind("/a:/b")),
            ("type=bind,src=/a,dst=/b,readonly", bind("/a:/b:ro")),
            ("type=bind,src=/a,dst=/b,ro=true", bind("/a:/b:ro")),
            ("type=bind,src=/a,dst=/b,readonly=True", bind("/a:/b:ro")),
            ("type=bind,src=/a,dst=/b,readonly=false", bind("/a:/b")),
            ("type=bind,src=/a,dst=/b,ro,ro=F", bind("/a:/b")),
            (
                "type=bind,\"source=/a,x\",destination=/b,bind-propagation=rslave",
                bind("/a,x:/b"),
            ),
            (
                "type=tmpfs,target=/run,tmpfs-size=1g",
                empty("/run", "size=1g"),
            ),
            (
                "type=tmpfs,dst=/run,tmpfs-mode=700",
                empty("/run", "mode=700"),
            ),
            ("target=/data", Ok(Mounted::Nothing)),
        ] {
            assert_eq!(parse_mount(text), expected, "{text}");
        }
        for (text, expected) in [
            ("", "'' is not known"),
            ("type=bind,source=/a", "no target"),
            ("type=bind,target=/b", "no source"),
            (
                "type=bind,source=a,target=/b",
                "'a' is not an absolute path",
            ),
            ("type=bind,source=/a,target=b", "must be absolute"),
            ("type=bind,source=/a,target=/", "cannot be replaced"),
            (
                "type=bind,source=/a,target=/b,sauce=x",
                "'sauce=x' is not known",
            ),
            (
                "type=bind,source=/a,target=/b,readonly=yes",
                "'readonly=yes' is neither true nor false",
            ),
            ("type=bind,source=/a,target=/b,ro=", "'ro=' is neither"),
            ("source=data,target=/b", "no named volumes"),
            ("type=npipe,source=/a,target=/b", "type 'npipe'"),
            ("type=tmpfs,target=/b,tmpfs-size=x", "invalid size 'x'"),
        ] {
            let error = parse_mount(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn tmpfs_mounts_are_parsed() {
        let path = GuestPath::new("/run").unwrap();
        for (text, options) in [("/run", ""), ("/run:rw,size=64m", "size=64m")] {
            let tmpfs = Tmpfs::parse(options).unwrap();
            assert_eq!(parse_tmpfs(text), Ok((path.clone(), tmpfs)), "{text}");
        }
        for text in ["run", "/", "/run:sise=1"] {
            assert!(parse_tmpfs(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_are_parsed() {
        for (text, line) in [
            ("db:10.0.0.1", Some("10.0.0.1\tdb\n")),
            ("db=10.0.0.1", Some("10.0.0.1\tdb\n")),
            ("db:[::1]", Some("::1\tdb\n")),
            ("db:fe80::1", Some("fe80::1\tdb\n")),
            ("me:host-gateway", Some("127.0.0.1\tme\n")),
            ("db", None),
            ("db:x", None),
            (":1.2.3.4", None),
            ("a b:1.2.3.4", None),
        ] {
            assert_eq!(parse_host(text).as_deref(), line, "{text}");
        }
    }
}
