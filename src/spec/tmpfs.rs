//! Options of file systems in memory: `--tmpfs`, `--mount type=tmpfs` and `--shm-size`.

use std::fmt;

/// A file system in memory that is empty at the start and removed at the end of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tmpfs {
    /// The maximum size; `None` for the kernel's default, half of the memory.
    pub size: Option<TmpfsSize>,
    /// The permission bits of its root directory.
    pub mode: u32,
    /// Whether files in it may be executed.
    pub executable: bool,
}

/// The maximum size of a file system in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TmpfsSize {
    /// A number of bytes.
    Bytes(u64),
    /// A percentage of the machine's memory.
    PercentOfMemory(u8),
}

/// An invalid option of a file system in memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TmpfsError {
    /// The option does not exist.
    #[error("invalid option '{0}' of a file system in memory")]
    Unknown(String),
    /// The size is malformed.
    #[error("invalid size '{0}': expected a number with k, m, g, t, or nothing for bytes")]
    Size(String),
    /// The mode is malformed.
    #[error("invalid mode '{0}': expected permission bits in octal")]
    Mode(String),
}

impl Default for Tmpfs {
    fn default() -> Tmpfs {
        Tmpfs {
            size: None,
            mode: 0o1777,
            executable: true,
        }
    }
}

impl Tmpfs {
    /// Options of mount(8) for tmpfs that have no effect here: files belong to the calling user,
    /// and devices and set-user-id bits do not work on what an ordinary user mounts.
    const WITHOUT_EFFECT: [&str; 22] = [
        "rw",
        "suid",
        "nosuid",
        "dev",
        "nodev",
        "sync",
        "async",
        "dirsync",
        "atime",
        "noatime",
        "diratime",
        "nodiratime",
        "relatime",
        "norelatime",
        "strictatime",
        "uid",
        "gid",
        "nr_inodes",
        "nr_blocks",
        "mpol",
        "private",
        "rprivate",
    ];

    /// Parses the options that follow the path of `--tmpfs`: `size=64m,mode=700,noexec`.
    ///
    /// # Errors
    /// An option does not exist, or its size or mode is malformed.
    pub fn parse(options: &str) -> Result<Tmpfs, TmpfsError> {
        let mut tmpfs = Tmpfs::default();
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            match name {
                "size" => tmpfs.size = Some(value.parse()?),
                "mode" => tmpfs.mode = parse_mode(value)?,
                "exec" => tmpfs.executable = true,
                "noexec" => tmpfs.executable = false,
                _ if Tmpfs::WITHOUT_EFFECT.contains(&name) => {}
                _ => return Err(TmpfsError::Unknown(option.to_string())),
            }
        }
        Ok(tmpfs)
    }

    /// Returns the options of `/dev/shm` with this size.
    pub fn shared_memory(size: TmpfsSize) -> Tmpfs {
        Tmpfs {
            size: Some(size),
            executable: false,
            ..Tmpfs::default()
        }
    }
}

fn parse_mode(text: &str) -> Result<u32, TmpfsError> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| TmpfsError::Mode(text.to_string()))
}

impl std::str::FromStr for TmpfsSize {
    type Err = TmpfsError;

    /// Parses `64m`, `1gb`, `512` or `50%`, in upper or lower case.
    fn from_str(text: &str) -> Result<TmpfsSize, TmpfsError> {
        let wrong = || TmpfsError::Size(text.to_string());
        let unit_at = text
            .find(|character: char| !character.is_ascii_digit())
            .unwrap_or(text.len());
        let (digits, unit) = text.split_at(unit_at);
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        let shift = match unit.to_ascii_lowercase().as_str() {
            "%" => {
                let percent = u8::try_from(number).map_err(|_| wrong())?;
                return Ok(TmpfsSize::PercentOfMemory(percent));
            }
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err(wrong()),
        };
        number
            .checked_mul(1 << shift)
            .map(TmpfsSize::Bytes)
            .ok_or_else(wrong)
    }
}

/// Writes the options of mount(2), see tmpfs(5).
impl fmt::Display for Tmpfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mode={:o}", self.mode)?;
        match self.size {
            Some(TmpfsSize::Bytes(bytes)) => write!(f, ",size={bytes}"),
            Some(TmpfsSize::PercentOfMemory(percent)) => write!(f, ",size={percent}%"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_parsed() {
        for (options, told, executable) in [
            ("", "mode=1777", true),
            ("rw,nosuid,noexec,uid=5", "mode=1777", false),
            ("size=64m,mode=700", "mode=700,size=67108864", true),
            ("size=50%,noexec,exec", "mode=1777,size=50%", true),
            ("size=4096", "mode=1777,size=4096", true),
            ("size=1GiB", "mode=1777,size=1073741824", true),
        ] {
            let tmpfs = Tmpfs::parse(options).unwrap();
            let found = (tmpfs.to_string(), tmpfs.executable);
            assert_eq!(found, (told.to_string(), executable), "{options}");
        }
        for (options, wrong) in [
            ("sise=1m", "invalid option 'sise=1m'"),
            ("size=", "invalid size ''"),
            ("size=1x", "invalid size '1x'"),
            ("size=999%", "invalid size '999%'"),
            ("size=99999999999t", "invalid size '99999999999t'"),
            ("mode=9", "invalid mode '9'"),
            ("mode=17777", "invalid mode '17777'"),
        ] {
            let error = Tmpfs::parse(options).unwrap_err().to_string();
            assert!(error.contains(wrong), "{options}: {error}");
        }
    }
}
