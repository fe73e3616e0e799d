//! Plans the user that the guest sees, and the passwd and group files that match.
//!
//! Emulated root uses the container's own files. Missing lines (root in an image without a passwd,
//! names for the caller's supplementary groups) are appended to them once. So accounts that the
//! guest adds are seen by later runs as any user, by `export` and by udocker.py, and the guest can
//! replace the files by a rename with every engine. A group of `-u` that has no name may differ in
//! each run, so it is named in a generated file instead.
//!
//! For other users, generated files are bound, unless the container's own files match already. They
//! are named after their content: runs share equal ones, none has to be removed, and a change of
//! the container's own files leads to new ones.

use crate::host::facts::{Account, Caller};

/// The passwd and group files that the guest sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accounts {
    /// The container's files, with missing lines added.
    #[default]
    Completed,
    /// The host's files, with the caller's account in them.
    Host,
    /// The container's files, unchanged.
    Container,
}

/// The value of `-u`, or the image's `User`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSpec {
    user: NameOrId,
    group: Option<NameOrId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum NameOrId {
    Name(String),
    Id(u32),
}

/// The user and group ids that the guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Those of the caller; the engine emulates nothing.
    Caller,
    /// Other ids. With user id 0 the engine also makes privileged system calls succeed.
    Emulated {
        /// The user id.
        uid: u32,
        /// The group id.
        gid: u32,
    },
}

/// An invalid or unknown user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// The text is neither a name nor ids.
    #[error("invalid user '{0}': expected a name, UID or UID:GID")]
    Malformed(String),
    /// The name has no account, and none may be added for it.
    #[error("user '{0}' not found")]
    UnknownUser(String),
    /// The group name is unknown.
    #[error("group '{0}' not found")]
    UnknownGroup(String),
}

impl UserSpec {
    /// Parses `NAME`, `UID`, `UID:GID`, and Docker's forms with group names.
    ///
    /// # Errors
    /// A part is empty, too large for an id, or has characters that do not fit a line of passwd.
    pub fn parse(text: &str) -> Result<UserSpec, UserError> {
        let malformed = || UserError::Malformed(text.to_string());
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let part = |text: &str| -> Result<NameOrId, UserError> {
            if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
                // The system takes the last id for "no change".
                return match text.parse() {
                    Ok(id) if id != u32::MAX => Ok(NameOrId::Id(id)),
                    _ => Err(malformed()),
                };
            }
            let is_name = !text.is_empty()
                && !text.starts_with(['-', '+', '.'])
                && !text.contains(|c: char| {
                    c.is_whitespace() || c.is_control() || ":/,=\"'".contains(c)
                });
            is_name
                .then(|| NameOrId::Name(text.to_string()))
                .ok_or_else(malformed)
        };
        Ok(UserSpec {
            user: part(user)?,
            group: group.map(part).transpose()?,
        })
    }

    fn root() -> UserSpec {
        UserSpec {
            user: NameOrId::Name("root".to_string()),
            group: None,
        }
    }
}

/// The change to one of the two files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The file stays as it is.
    None,
    /// These lines are added at its end.
    Append(String),
    /// A file with this text is bound over it.
    Replace(String),
}

/// The planned user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UserPlan {
    pub(super) identity: Identity,
    pub(super) uid: u32,
    pub(super) name: String,
    pub(super) home: String,
    pub(super) passwd: Change,
    pub(super) group: Change,
}

/// The texts of the two files; a missing file has an empty text.
#[derive(Clone, Copy)]
pub(super) struct AccountFiles<'a> {
    pub(super) passwd: &'a str,
    pub(super) group: &'a str,
    /// Whether a volume covers one of them; both stay as they are then.
    pub(super) bound: bool,
}

/// Plans the user; `files` are the host's for [`Accounts::Host`], else those that the guest sees.
///
/// # Errors
/// The user or the group is unknown.
pub(super) fn plan_user(
    requested: Option<&UserSpec>,
    accounts: Accounts,
    files: AccountFiles<'_>,
    caller: &Caller,
) -> Result<UserPlan, UserError> {
    let root = UserSpec::root();
    let requested = requested.unwrap_or(&root);
    let known = find_account(files.passwd, &requested.user).or_else(|| {
        let is_caller = accounts == Accounts::Host && requested.user.identifies(&caller.account);
        is_caller.then(|| caller.account.clone())
    });
    let requested_gid = match &requested.group {
        None => None,
        Some(NameOrId::Id(gid)) => Some(*gid),
        Some(NameOrId::Name(name)) => Some(
            find_group(files.group, name).ok_or_else(|| UserError::UnknownGroup(name.clone()))?,
        ),
    };
    let account = match (&requested.user, known) {
        (NameOrId::Name(_), Some(account)) if account.uid == 0 => Account {
            gid: requested_gid.unwrap_or(account.gid),
            ..account
        },
        // As in udocker.py: a named user has the caller's ids, so that files belong to that user.
        (NameOrId::Name(_), Some(account)) => Account {
            uid: caller.account.uid,
            gid: caller.account.gid,
            ..account
        },
        (NameOrId::Id(uid), Some(account)) => Account {
            uid: *uid,
            gid: requested_gid.unwrap_or(account.gid),
            ..account
        },
        (NameOrId::Name(name), None) if name == "root" => added_account(name.clone(), 0, 0),
        (NameOrId::Name(name), None) if accounts == Accounts::Completed => {
            let Account { uid, gid, .. } = caller.account;
            added_account(name.clone(), uid, gid)
        }
        (NameOrId::Name(name), None) => return Err(UserError::UnknownUser(name.clone())),
        (NameOrId::Id(0), None) => added_account("root".to_string(), 0, requested_gid.unwrap_or(0)),
        (NameOrId::Id(uid), None) => {
            let digits: String = uid.to_string().chars().take(4).collect();
            let gid = requested_gid.unwrap_or(caller.account.gid);
            added_account(format!("udoc{digits}"), *uid, gid)
        }
    };
    let is_caller = (account.uid, account.gid) == (caller.account.uid, caller.account.gid);
    let (passwd, group) = if files.bound || accounts == Accounts::Container {
        (Change::None, Change::None)
    } else {
        plan_files(&account, accounts, files, caller)
    };
    Ok(UserPlan {
        identity: if is_caller {
            Identity::Caller
        } else {
            Identity::Emulated {
                uid: account.uid,
                gid: account.gid,
            }
        },
        uid: account.uid,
        name: account.name,
        home: account.home,
        passwd,
        group,
    })
}

fn plan_files(
    account: &Account,
    accounts: Accounts,
    files: AccountFiles<'_>,
    caller: &Caller,
) -> (Change, Change) {
    let lines = missing_groups(account, files.group, caller);
    let has_new_group = account.gid != 0 && !knows_group(files.group, account.gid);
    if account.uid == 0 && accounts == Accounts::Completed {
        let root = match find_account(files.passwd, &NameOrId::Id(0)) {
            Some(_) => String::new(),
            None => passwd_line(account),
        };
        let group = match appended(files.group, lines) {
            // With another group in each run, the container's own file would grow without limit.
            Change::Append(lines) if has_new_group => replaced(files.group, &lines),
            change => change,
        };
        return (appended(files.passwd, root), group);
    }
    let by_name = find_account(files.passwd, &NameOrId::Name(account.name.clone()));
    let by_id = find_account(files.passwd, &NameOrId::Id(account.uid));
    let matches = |found: &Option<Account>| found.as_ref() == Some(account);
    let passwd = if accounts != Accounts::Host && matches(&by_name) && matches(&by_id) {
        Change::None
    } else {
        // The account comes first, since the first match counts, for names and for ids.
        let mut text = passwd_line(account);
        let own = &caller.account;
        let is_known = |uid| find_account(files.passwd, &NameOrId::Id(uid)).is_some();
        // A directory service may hold the caller's account.
        if accounts == Accounts::Host && own.uid != account.uid && !is_known(own.uid) {
            text += &passwd_line(own);
        }
        for line in files.passwd.lines() {
            if line.split(':').next() != Some(&account.name) {
                text.push_str(line);
                text.push('\n');
            }
        }
        Change::Replace(text)
    };
    let group = match appended(files.group, lines) {
        Change::Append(lines) => replaced(files.group, &lines),
        _ if accounts == Accounts::Host => Change::Replace(files.group.to_string()),
        change => change,
    };
    (passwd, group)
}

fn replaced(text: &str, lines: &str) -> Change {
    Change::Replace(format!("{text}{lines}"))
}

fn appended(text: &str, lines: String) -> Change {
    if lines.is_empty() {
        return Change::None;
    }
    if text.is_empty() || text.ends_with('\n') {
        return Change::Append(lines);
    }
    Change::Append(format!("\n{lines}"))
}

/// Returns lines for the user's group and the caller's supplementary groups that have no name.
fn missing_groups(account: &Account, group: &str, caller: &Caller) -> String {
    let name = &account.name;
    let mut lines = String::new();
    let others = caller.groups.iter().filter(|&&gid| gid != account.gid);
    for &gid in std::iter::once(&account.gid).chain(others) {
        if knows_group(group, gid) {
            continue;
        }
        // Root's own group is 0, whichever group it is given.
        let is_own = gid == account.gid && (account.uid != 0 || gid == 0);
        lines += &match is_own {
            true => format!("{name}:x:{gid}:\n"),
            false => format!("G{gid}:x:{gid}:{name}\n"),
        };
    }
    lines
}

fn knows_group(group: &str, gid: u32) -> bool {
    group_entries(group).any(|(_, known)| known == gid)
}

fn added_account(name: String, uid: u32, gid: u32) -> Account {
    Account {
        name,
        uid,
        gid,
        gecos: "*UDOCKER*".to_string(),
        home: "/".to_string(),
        shell: "/bin/sh".to_string(),
    }
}

fn passwd_line(account: &Account) -> String {
    let Account {
        name,
        uid,
        gid,
        gecos,
        home,
        shell,
    } = account;
    format!("{name}:x:{uid}:{gid}:{gecos}:{home}:{shell}\n")
}

impl NameOrId {
    fn identifies(&self, account: &Account) -> bool {
        match self {
            NameOrId::Name(name) => *name == account.name,
            NameOrId::Id(id) => *id == account.uid,
        }
    }
}

fn find_account(passwd: &str, wanted: &NameOrId) -> Option<Account> {
    Account::parse_all(passwd).find(|account| wanted.identifies(account))
}

fn find_group(group: &str, name: &str) -> Option<u32> {
    group_entries(group)
        .find(|(known, _)| *known == name)
        .map(|(_, gid)| gid)
}

fn group_entries(group: &str) -> impl Iterator<Item = (&str, u32)> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        Some((name, fields.nth(1)?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:33:34::/srv:/bin/false\n";
    const GROUP: &str = "root:x:0:\nstaff:x:50:\n";

    fn caller() -> Caller {
        Caller {
            account: Account {
                name: "me".to_string(),
                uid: 1000,
                gid: 100,
                gecos: "Me".to_string(),
                home: "/home/me".to_string(),
                shell: "/bin/zsh".to_string(),
            },
            groups: vec![50, 100, 7777],
        }
    }

    fn plan_with(
        user: Option<&str>,
        accounts: Accounts,
        passwd: &str,
        group: &str,
    ) -> Result<UserPlan, UserError> {
        let requested = user.map(|user| UserSpec::parse(user).unwrap());
        let files = AccountFiles {
            passwd,
            group,
            bound: false,
        };
        plan_user(requested.as_ref(), accounts, files, &caller())
    }

    fn plan(user: Option<&str>) -> UserPlan {
        plan_with(user, Accounts::Completed, PASSWD, GROUP).unwrap()
    }

    #[test]
    fn users_are_parsed() {
        for text in [
            "root",
            "0",
            "12:34",
            "a.b-c_d",
            "app:staff",
            "1:staff",
            "svc$",
        ] {
            assert!(UserSpec::parse(text).is_ok(), "{text}");
        }
        for text in [
            "",
            ":",
            "a:",
            ":1",
            "a b",
            "a\nb",
            "-1",
            "/",
            "1:2:3",
            "4294967295",
            "99999999999",
        ] {
            assert!(UserSpec::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn identities_follow_the_requested_user() {
        let emulated = |uid, gid| Identity::Emulated { uid, gid };
        for (user, name, home, identity) in [
            (None, "root", "/root", emulated(0, 0)),
            (Some("root"), "root", "/root", emulated(0, 0)),
            (Some("0"), "root", "/root", emulated(0, 0)),
            (Some("0:5"), "root", "/root", emulated(0, 5)),
            (Some("app"), "app", "/srv", Identity::Caller),
            (Some("app:staff"), "app", "/srv", Identity::Caller),
            (Some("33"), "app", "/srv", emulated(33, 34)),
            (Some("33:1"), "app", "/srv", emulated(33, 1)),
            (Some("33:staff"), "app", "/srv", emulated(33, 50)),
            (Some("new"), "new", "/", Identity::Caller),
            (Some("12345"), "udoc1234", "/", emulated(12345, 100)),
            (Some("12345:9"), "udoc1234", "/", emulated(12345, 9)),
            (Some("1000"), "udoc1000", "/", Identity::Caller),
        ] {
            let plan = plan(user);
            assert_eq!(plan.name, name, "{user:?}");
            assert_eq!(plan.home, home, "{user:?}");
            assert_eq!(plan.identity, identity, "{user:?}");
        }
    }

    #[test]
    fn emulated_root_uses_the_containers_files() {
        let plan = plan(None);
        assert_eq!(plan.passwd, Change::None);
        assert_eq!(
            plan.group,
            Change::Append("G100:x:100:root\nG7777:x:7777:root\n".to_string())
        );
        let complete = "root:x:0:\nusers:x:100:\nstaff:x:50:\nG7777:x:7777:root\n";
        let again = plan_with(None, Accounts::Completed, PASSWD, complete).unwrap();
        assert_eq!(again.group, Change::None);
    }

    #[test]
    fn a_group_given_to_root_is_named_in_a_generated_file() {
        let plan = plan(Some("0:1234"));
        let lines = "G1234:x:1234:root\nG100:x:100:root\nG7777:x:7777:root\n";
        assert_eq!(plan.passwd, Change::None);
        assert_eq!(plan.group, Change::Replace(format!("{GROUP}{lines}")));
    }

    #[test]
    fn image_without_accounts_gets_root() {
        let plan = plan_with(None, Accounts::Completed, "", "").unwrap();
        assert_eq!(
            plan.passwd,
            Change::Append("root:x:0:0:*UDOCKER*:/:/bin/sh\n".to_string())
        );
        assert!(matches!(plan.group, Change::Append(lines) if lines.starts_with("root:x:0:\n")));
    }

    #[test]
    fn other_users_get_generated_files() {
        let app = plan(Some("app"));
        assert_eq!(
            app.passwd,
            Change::Replace(
                "app:x:1000:100::/srv:/bin/false\nroot:x:0:0:root:/root:/bin/sh\n".to_string()
            )
        );
        assert_eq!(
            app.group,
            Change::Replace(format!("{GROUP}app:x:100:\nG7777:x:7777:app\n"))
        );
        let new = plan(Some("new"));
        assert_eq!(
            new.passwd,
            Change::Replace(format!("new:x:1000:100:*UDOCKER*:/:/bin/sh\n{PASSWD}"))
        );
        let numeric = plan(Some("33:34"));
        assert_eq!(numeric.passwd, Change::None);
    }

    #[test]
    fn unknown_names_are_errors_without_completion() {
        for accounts in [Accounts::Host, Accounts::Container] {
            assert_eq!(
                plan_with(Some("new"), accounts, PASSWD, GROUP),
                Err(UserError::UnknownUser("new".to_string()))
            );
            assert!(plan_with(None, accounts, PASSWD, GROUP).is_ok());
        }
        assert_eq!(
            plan_with(Some("1:none"), Accounts::Completed, PASSWD, GROUP),
            Err(UserError::UnknownGroup("none".to_string()))
        );
    }

    #[test]
    fn host_files_hold_the_callers_account() {
        let plan = plan_with(Some("me"), Accounts::Host, PASSWD, GROUP).unwrap();
        assert_eq!(plan.identity, Identity::Caller);
        assert_eq!(plan.home, "/home/me");
        assert_eq!(
            plan.passwd,
            Change::Replace(format!("me:x:1000:100:Me:/home/me:/bin/zsh\n{PASSWD}"))
        );
    }

    #[test]
    fn host_files_hold_the_callers_account_for_root_too() {
        let plan = plan_with(None, Accounts::Host, PASSWD, GROUP).unwrap();
        let Change::Replace(text) = plan.passwd else {
            panic!("{plan:?}");
        };
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "root:x:0:0:root:/root:/bin/sh");
        assert_eq!(lines[1], "me:x:1000:100:Me:/home/me:/bin/zsh");
        let passwd = format!("{PASSWD}I:x:1000:100::/:\n");
        let plan = plan_with(None, Accounts::Host, &passwd, GROUP).unwrap();
        assert_eq!(plan.passwd, Change::Replace(passwd));
    }

    #[test]
    fn containerauth_leaves_the_files_unchanged() {
        let plan = plan_with(Some("app"), Accounts::Container, PASSWD, GROUP).unwrap();
        assert_eq!((plan.passwd, plan.group), (Change::None, Change::None));
        assert_eq!(plan.identity, Identity::Caller);
    }

    #[test]
    fn bound_files_stay_unchanged() {
        let files = AccountFiles {
            passwd: "x:x:5:5::/:/bin/sh\n",
            group: "",
            bound: true,
        };
        let requested = UserSpec::parse("new").unwrap();
        let plan = plan_user(Some(&requested), Accounts::Completed, files, &caller()).unwrap();
        assert_eq!((plan.passwd, plan.group), (Change::None, Change::None));
    }
}
