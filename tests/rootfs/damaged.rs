//! Damaged and truncated archives are refused; the message names layer and cause.

use crate::support::layer_builder::{LayerBuilder, TarEntry};
use crate::unpack::{apply_both_ways_and_compare, unpack};

#[test]
fn truncated_archives_are_refused_but_end_blocks_may_be_missing() {
    let whole = LayerBuilder::new()
        .file("first", vec![b'x'; 1000])
        .entry(TarEntry::new(b'0', "n".repeat(150)).content("pax"))
        .finish();
    let without_end = whole.len() - 1024;
    // The padding of the last content may be missing too.
    let without_padding = without_end - 509;
    for length in (0..whole.len()).step_by(61).chain([
        511,
        512,
        513,
        1511,
        1512,
        1536,
        2048,
        without_padding - 1,
        without_padding,
        without_end,
        without_end + 1,
        without_end + 512,
        whole.len(),
    ]) {
        let (_unpacked, result) = apply_both_ways_and_compare(&[whole[..length].to_vec()]);
        let is_whole = match length {
            0 | 1512..=1536 => true,
            _ if length < without_end => length >= without_padding,
            _ => length.is_multiple_of(512),
        };
        assert_eq!(result.is_ok(), is_whole, "{length}: {result:?}");
    }
}

#[test]
fn messages_name_the_kind_of_damage() {
    let good = || LayerBuilder::new().file("good", "x");
    let mut bad_checksum = good().file("bad", "y").finish();
    bad_checksum[1024] ^= 1;
    for (name, layer, expected) in [
        (
            "size larger than the content",
            good()
                .entry(
                    TarEntry::new(b'0', "bad")
                        .content("y")
                        .declared_size(100_000),
                )
                .finish(),
            "layer 'L0' cannot be unpacked: the archive ends in the middle of an entry",
        ),
        (
            "size beyond all bounds",
            good()
                .entry(
                    TarEntry::new(b'0', "bad")
                        .content("y")
                        .declared_size(1 << 62),
                )
                .finish(),
            "layer 'L0' cannot be unpacked: the archive ends in the middle of an entry",
        ),
        (
            "size smaller than the content",
            good()
                .entry(
                    TarEntry::new(b'0', "bad")
                        .content(vec![b'y'; 2000])
                        .declared_size(3),
                )
                .finish(),
            "layer 'L0' cannot be unpacked: the archive is damaged, or no tar archive: bad header checksum",
        ),
        (
            "negative size",
            good()
                .entry(TarEntry::new(b'0', "bad").declared_size(u64::MAX))
                .finish(),
            "layer 'L0' cannot be unpacked: the archive is damaged: bad value for size in a header",
        ),
        (
            "negative size in a record",
            good()
                .entry(TarEntry::new(b'0', "bad").pax("size", "-1"))
                .finish(),
            "layer 'L0' cannot be unpacked: the archive is damaged: bad value for size in a header",
        ),
        (
            "bad checksum",
            bad_checksum,
            "layer 'L0' cannot be unpacked: the archive is damaged, or no tar archive: bad header checksum",
        ),
        (
            "no archive",
            vec![b'x'; 5000],
            "layer 'L0' cannot be unpacked: the archive is damaged, or no tar archive: bad header checksum",
        ),
        (
            "records that are none",
            good()
                .entry(TarEntry::new(b'x', "header").content("no records"))
                .file("bad", "")
                .finish(),
            "layer 'L0' cannot be unpacked: the archive is damaged: bad PAX header",
        ),
        (
            "huge extension",
            good()
                .entry(TarEntry::new(b'L', "long").declared_size(1 << 40))
                .finish(),
            "layer 'L0' cannot be unpacked: the archive holds a header extension of 1099511627776 bytes, at most 1048576 are read",
        ),
        (
            "sparse map beyond the file",
            good()
                .entry(
                    TarEntry::new(b'0', "bad")
                        .content("y")
                        .pax("GNU.sparse.size", "10")
                        .pax("GNU.sparse.map", "10,1"),
                )
                .finish(),
            "layer 'L0' cannot be unpacked: the archive is damaged: bad map of a sparse file",
        ),
        (
            "sparse map without end",
            good()
                .entry(
                    TarEntry::new(b'0', "bad")
                        .content("9".repeat(2000))
                        .pax("GNU.sparse.major", "1")
                        .pax("GNU.sparse.realsize", "10"),
                )
                .finish(),
            "layer 'L0' cannot be unpacked: the archive is damaged: bad map of a sparse file",
        ),
        (
            "data after one block of zeros",
            good().raw([0; 512]).file("bad", "").finish(),
            "layer 'L0' cannot be unpacked: the archive is damaged: data follows a lone block of zeros",
        ),
        (
            "truncated gzip",
            vec![0x1f, 0x8b, 8, 0, 0, 0],
            "layer 'L0' cannot be unpacked: cannot read it: unexpected end of file",
        ),
        (
            "link to what is not there",
            good().hard_link("bad", "none").finish(),
            "layer 'L0' cannot be unpacked: cannot create 'bad': there is no 'none' to link to",
        ),
        (
            "symbolic links in a circle",
            good()
                .symlink("a", "b")
                .symlink("b", "a")
                .file("a/bad", "")
                .finish(),
            "layer 'L0' cannot be unpacked: cannot open the directory 'a': Too many levels of symbolic links (os error 40)",
        ),
    ] {
        let (_unpacked, result) = apply_both_ways_and_compare(&[layer]);
        assert_eq!(result.unwrap_err().to_string(), expected, "{name}");
    }
}

#[test]
fn data_after_the_end_of_archive_is_hashed_and_ignored() {
    let layer = LayerBuilder::new().file("file", "x").finish();
    let unpacked = unpack(&[[layer, vec![b'?'; 10_000]].concat()]);
    assert!(unpacked.root.join("file").exists());
}
