//! Reads the interpreter and the architecture from the first bytes of an executable file.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Returns the interpreter after `#!`, without its argument. The carriage return of a Windows file
/// is part of the name.
pub(super) fn script_interpreter(head: &[u8]) -> Option<&OsStr> {
    let line = head
        .strip_prefix(b"#!")?
        .split(|&byte| byte == b'\n')
        .next()?;
    let mut words = line.split(|byte| b" \t".contains(byte));
    let word = words.find(|word| !word.is_empty())?;
    Some(OsStr::from_bytes(word))
}

/// Returns the architecture in an ELF header, in QEMU's spelling; `None` for other files and
/// unknown architectures.
///
/// Source: System V ABI, "ELF Header": `e_ident` (class at 4, byte order at 5), `e_machine` at 18.
pub(super) fn elf_architecture(head: &[u8]) -> Option<&'static str> {
    if head.len() < 20 || !head.starts_with(b"\x7fELF") {
        return None;
    }
    let (wide, little) = (head[4] == 2, head[5] == 1);
    let machine = [head[18], head[19]];
    let machine = if little {
        u16::from_le_bytes(machine)
    } else {
        u16::from_be_bytes(machine)
    };
    Some(match (machine, wide, little) {
        (3, ..) => "i386",
        (8, _, false) => "mips",
        (8, _, true) => "mipsel",
        (20, ..) => "ppc",
        (21, _, true) => "ppc64le",
        (21, _, false) => "ppc64",
        (22, ..) => "s390x",
        (40, ..) => "arm",
        // Programs with 32-bit pointers (x32) are left to the kernel.
        (62, true, _) => "x86_64",
        (183, ..) => "aarch64",
        (243, true, _) => "riscv64",
        (258, ..) => "loongarch64",
        _ => return None,
    })
}

/// Returns the dynamic linker that an ELF program names; `None` if there is none within `head`.
///
/// Source: System V ABI, "ELF Header" and "Program Header": `PT_INTERP` is 3.
pub(super) fn elf_interpreter(head: &[u8]) -> Option<&OsStr> {
    const PT_INTERP: usize = 3;
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    let (wide, little) = (*head.get(4)? == 2, *head.get(5)? == 1);
    let number = |at: usize, width: usize| -> Option<usize> {
        let bytes = head.get(at..at.checked_add(width)?)?;
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        let number = match little {
            true => bytes.iter().rev().fold(0, add),
            false => bytes.iter().fold(0, add),
        };
        usize::try_from(number).ok()
    };
    let field = |at: usize, narrow: usize, wide_at: usize| match wide {
        true => number(at.checked_add(wide_at)?, 8),
        false => number(at.checked_add(narrow)?, 4),
    };
    let (sizes, start) = (if wide { 54 } else { 42 }, field(0, 28, 32)?);
    let (size, count) = (number(sizes, 2)?, number(sizes + 2, 2)?);
    let mut headers = (0..count).map_while(|index| start.checked_add(index * size));
    let header = headers.find(|&at| number(at, 4) == Some(PT_INTERP))?;
    let at = field(header, 4, 8)?;
    let name = head.get(at..at.checked_add(field(header, 16, 32)?)?)?;
    Some(OsStr::from_bytes(name.strip_suffix(b"\0")?))
}

/// Whether a `machine`, in the spelling of `uname -m`, executes programs for `architecture`.
pub(super) fn runs_on(architecture: &str, machine: &str) -> bool {
    architecture == machine
        || matches!(
            (architecture, machine),
            ("i386", "x86_64" | "i486" | "i586" | "i686")
                | ("arm", "aarch64" | "armv6l" | "armv7l" | "armv8l")
        )
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn interpreters_of_scripts_are_found() {
        for (head, interpreter) in [
            ("#! /bin/sh -e\n", Some("/bin/sh")),
            ("#!\t/bin/sh\tx", Some("/bin/sh")),
            ("#!/bin/sh\r\n", Some("/bin/sh\r")),
            ("#!\n/bin/sh", None),
            ("/bin/sh\n", None),
        ] {
            let found = script_interpreter(head.as_bytes());
            assert_eq!(found, interpreter.map(OsStr::new), "{head}");
        }
    }

    /// Returns a program with two headers, the second of which names `interpreter`.
    pub(in crate::spec) fn elf(wide: bool, little: bool, interpreter: &str) -> Vec<u8> {
        let mut head = vec![0; 200];
        let mut put = |at: usize, width: usize, number: u8| {
            head[if little { at } else { at + width - 1 }] = number;
        };
        let (header, size) = if wide { (64, 56) } else { (52, 32) };
        let width = if wide { 8 } else { 4 };
        put(18, 2, 62);
        put(if wide { 32 } else { 28 }, width, header);
        put(if wide { 54 } else { 42 }, 2, size);
        put(if wide { 56 } else { 44 }, 2, 2);
        let at = usize::from(header + size);
        put(usize::from(header), 4, 6);
        put(at, 4, 3);
        put(at + if wide { 8 } else { 4 }, width, 200);
        let length = u8::try_from(interpreter.len() + 1).unwrap();
        put(at + if wide { 32 } else { 16 }, width, length);
        head[..4].copy_from_slice(b"\x7fELF");
        head[4] = if wide { 2 } else { 1 };
        head[5] = if little { 1 } else { 2 };
        head.extend_from_slice(interpreter.as_bytes());
        head.push(0);
        head
    }

    #[test]
    fn interpreters_of_programs_are_found() {
        for (wide, little) in [(true, true), (true, false), (false, true), (false, false)] {
            let head = elf(wide, little, "/lib/ld.so");
            assert_eq!(elf_interpreter(&head), Some(OsStr::new("/lib/ld.so")));
            // Truncated and damaged headers must not cause a panic.
            for end in 0..head.len() {
                assert_eq!(elf_interpreter(&head[..end]), None, "{end}");
                let mut damaged = head.clone();
                damaged[end] = 0xff;
                elf_interpreter(&damaged);
            }
        }
        let own = std::fs::read("/proc/self/exe").unwrap();
        let is_static = cfg!(target_feature = "crt-static");
        assert_eq!(elf_interpreter(&own).is_none(), is_static);
    }
}
