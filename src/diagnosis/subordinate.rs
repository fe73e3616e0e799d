//! Further ids that an administrator has granted to a user.

/// What `/etc/subuid` and `/etc/subgid` grant, and the programs that map it.
///
/// Source: subuid(5), newuidmap(1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subordinate {
    /// How many user ids.
    pub users: u64,
    /// How many group ids.
    pub groups: u64,
    /// Those of `newuidmap` and `newgidmap` that are not installed.
    pub missing: Vec<&'static str>,
}

impl Subordinate {
    /// How many ids the lines `NAME-OR-ID:FIRST:COUNT` of `text` grant to a user.
    pub fn count(text: &str, name: &str, uid: u32) -> u64 {
        let uid = uid.to_string();
        text.lines()
            .filter_map(|line| {
                let mut fields = line.trim().split(':');
                let who = fields.next()?;
                let count: u64 = fields.nth(1)?.parse().ok()?;
                (who == name || who == uid).then_some(count)
            })
            .fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_added_up() {
        let text = "# ranges\nme:100000:65536\nyou:200000:65536\n1000:300000:10\nme:x\nme:1:y\n";
        for (name, uid, expected) in [("me", 1000, 65_546), ("you", 7, 65_536), ("who", 8, 0)] {
            assert_eq!(Subordinate::count(text, name, uid), expected, "{name}");
        }
    }
}
