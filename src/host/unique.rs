//! Unique names.

use std::fs::File;
use std::io::{self, Read};

use rustix::rand::{GetRandomFlags, getrandom};

/// Returns a random UUID as a name. It works without device files: in a sandbox, `/dev` may be
/// empty.
pub fn unique_name() -> String {
    let mut bytes = [0; 16];
    if getrandom(&mut bytes, GetRandomFlags::empty()) != Ok(bytes.len()) {
        // Kernels before 3.17 have no such call. If this fails too, a name that exists already is
        // refused by the code that creates the file.
        let _ = from_device(&mut bytes);
    }
    let uuid = uuid::Builder::from_random_bytes(bytes);
    uuid.into_uuid().to_string()
}

fn from_device(bytes: &mut [u8]) -> io::Result<()> {
    File::open("/dev/urandom")?.read_exact(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_names_do_not_repeat() {
        let [one, other] = [unique_name(), unique_name()];
        assert_ne!(one, other);
        assert!(uuid::Uuid::try_parse(&one).is_ok_and(|uuid| uuid.get_version_num() == 4));
        let mut bytes = [0; 16];
        from_device(&mut bytes).unwrap();
        assert_ne!(bytes, [0; 16]);
    }
}
