//! Facts about the machine and the calling user.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use super::fs::read_lossy;
use super::process;

/// The caller's real user id.
pub fn uid() -> u32 {
    rustix::process::getuid().as_raw()
}

/// The caller's real group id.
pub fn gid() -> u32 {
    rustix::process::getgid().as_raw()
}

/// Whether the effective user is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A line of passwd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Id of the primary group.
    pub gid: u32,
    /// Full name and other personal data.
    pub gecos: String,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

impl Account {
    /// Reads the text of a passwd file; lines that are not an account are skipped.
    pub fn parse_all(text: &str) -> impl Iterator<Item = Account> {
        text.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty())?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            let mut rest = || fields.next().unwrap_or_default().to_string();
            Some(Account {
                name: name.to_string(),
                uid,
                gid,
                gecos: rest(),
                home: rest(),
                shell: rest(),
            })
        })
    }
}

/// The calling user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account, with the real ids of this process.
    pub account: Account,
    /// All group ids.
    pub groups: Vec<u32>,
}

impl Caller {
    /// Looks the caller up in `/etc/passwd`, then by `getent`, which asks directory services. A
    /// caller without an account gets the user id as name, and `home` as home directory.
    pub fn look_up(home: Option<&str>) -> Caller {
        let (uid, gid) = (uid(), gid());
        let account = account_of(uid).unwrap_or_else(|| Account {
            name: uid.to_string(),
            uid,
            gid,
            gecos: String::new(),
            home: home.unwrap_or("/").to_string(),
            shell: "/bin/sh".to_string(),
        });
        let groups = rustix::process::getgroups().unwrap_or_default();
        Caller {
            account: Account { gid, ..account },
            groups: groups.iter().map(|gid| gid.as_raw()).collect(),
        }
    }
}

/// The home directory of the caller's account.
pub fn home_of_account() -> Option<String> {
    account_of(uid()).map(|account| account.home)
}

/// Asks once: a directory service may take its time to answer.
fn account_of(uid: u32) -> Option<Account> {
    static ASKED: OnceLock<(u32, Option<Account>)> = OnceLock::new();
    match ASKED.get_or_init(|| (uid, look_up_account(uid))) {
        (asked, account) if *asked == uid => account.clone(),
        // The process has entered a user namespace since.
        _ => look_up_account(uid),
    }
}

fn look_up_account(uid: u32) -> Option<Account> {
    let find = |text: &str| Account::parse_all(text).find(|account| account.uid == uid);
    read_lossy(Path::new("/etc/passwd"))
        .ok()
        .and_then(|text| find(&text))
        .or_else(|| find(&getent(uid)?))
}

fn getent(uid: u32) -> Option<String> {
    ["/usr/bin/getent", "/bin/getent"]
        .iter()
        .find(|path| Path::new(path).exists())
        .and_then(|path| {
            let arguments = ["passwd", &uid.to_string()];
            let bytes = process::output_bytes(Path::new(path), &arguments, &[]).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        })
}

/// The machine, according to `uname`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// `x86_64`, `aarch64`…
    pub architecture: String,
    /// Release of the kernel.
    pub kernel: String,
}

impl Machine {
    /// Asks the kernel.
    pub fn look_up() -> Machine {
        let name = rustix::system::uname();
        Machine {
            architecture: name.machine().to_string_lossy().into_owned(),
            kernel: name.release().to_string_lossy().into_owned(),
        }
    }
}

/// The host name, with `_` for every character that could not be part of a file name.
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_bytes().to_vec();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'.';
    name.iter()
        .map(|byte| {
            if is_plain(byte) {
                char::from(*byte)
            } else {
                '_'
            }
        })
        .collect()
}

/// The id of the current boot, which no other boot has; `None` where `/proc` does not show it.
///
/// Source: random(4), `boot_id`.
pub fn boot_id() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let id = text.trim();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (!id.is_empty() && id.bytes().all(is_plain)).then(|| id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwd_is_read_leniently() {
        let text = "root:x:0:0:root:/root:/bin/sh\n\n# no\n+::::::\nshort:x:5:6\nbad:x:y:0:::\n";
        let names: Vec<(String, u32, String)> = Account::parse_all(text)
            .map(|account| (account.name, account.uid, account.home))
            .collect();
        assert_eq!(
            names,
            [
                ("root".to_string(), 0, "/root".to_string()),
                ("short".to_string(), 5, String::new())
            ]
        );
    }

    #[test]
    fn the_caller_has_the_ids_of_the_process() {
        let caller = Caller::look_up(None);
        assert_eq!((caller.account.uid, caller.account.gid), (uid(), gid()));
        assert!(!caller.account.name.is_empty());
    }
}
