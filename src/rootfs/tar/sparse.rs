//! Maps of sparse files.

use super::TarError;
use super::pax::{Records, decimal};

/// The most segments of a sparse file: more than files in images have, and few enough to keep in
/// memory.
pub(in crate::rootfs) const MAX_SEGMENTS: usize = 1 << 18;

/// A run of data in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rootfs) struct Segment {
    pub(in crate::rootfs) offset: u64,
    pub(in crate::rootfs) length: u64,
}

/// The runs of data in a file, in order, and the size of the file with its holes.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::rootfs) struct SparseMap {
    pub(in crate::rootfs) segments: Vec<Segment>,
    pub(in crate::rootfs) size: u64,
}

impl SparseMap {
    /// Checks that the runs are in order and within the file, and add up to the `stored` bytes.
    pub(super) fn new(
        segments: Vec<Segment>,
        size: u64,
        stored: u64,
    ) -> Result<SparseMap, TarError> {
        let mut end = 0_u64;
        let mut total = 0_u64;
        for segment in &segments {
            if segment.offset < end {
                return Err(TarError::BadSparseMap);
            }
            end = segment
                .offset
                .checked_add(segment.length)
                .filter(|&end| end <= size)
                .ok_or(TarError::BadSparseMap)?;
            // This cannot overflow: runs do not overlap, so the total is at most `end`.
            total += segment.length;
        }
        if total != stored || i64::try_from(size).is_err() {
            return Err(TarError::BadSparseMap);
        }
        Ok(SparseMap { segments, size })
    }
}

/// A list of segments of limited length.
#[derive(Default)]
pub(super) struct SegmentList(Vec<Segment>);

impl SegmentList {
    pub(super) fn push(&mut self, segment: Segment) -> Result<(), TarError> {
        if self.0.len() >= MAX_SEGMENTS {
            return Err(TarError::BadSparseMap);
        }
        self.0.push(segment);
        Ok(())
    }

    pub(super) fn extend(&mut self, segments: Vec<Segment>) -> Result<(), TarError> {
        segments
            .into_iter()
            .try_for_each(|segment| self.push(segment))
    }

    pub(super) fn into_inner(self) -> Vec<Segment> {
        self.0
    }
}

/// Reads a map of PAX format 0.0 (one record per number) or 0.1 (all numbers in one record).
pub(super) fn segments_in_records(records: &Records) -> Result<Vec<Segment>, TarError> {
    let mut numbers = Vec::new();
    if let Some(map) = records.get("GNU.sparse.map") {
        for number in map.split(|&byte| byte == b',') {
            numbers.push(decimal(number).ok_or(TarError::BadSparseMap)?);
        }
    } else {
        for (key, value) in records.pairs() {
            let is_offset = match key {
                b"GNU.sparse.offset" => true,
                b"GNU.sparse.numbytes" => false,
                _ => continue,
            };
            if is_offset != numbers.len().is_multiple_of(2) {
                return Err(TarError::BadSparseMap);
            }
            numbers.push(decimal(value).ok_or(TarError::BadSparseMap)?);
        }
    }
    let (pairs, []) = numbers.as_chunks() else {
        return Err(TarError::BadSparseMap);
    };
    let mut list = SegmentList::default();
    for &[offset, length] in pairs {
        list.push(Segment { offset, length })?;
    }
    Ok(list.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(pairs: &[(u64, u64)]) -> Vec<Segment> {
        pairs
            .iter()
            .map(|&(offset, length)| Segment { offset, length })
            .collect()
    }

    #[test]
    fn inconsistent_sparse_maps_are_refused() {
        for (name, pairs, size, stored, is_good) in [
            ("all hole", &[][..], 10, 0, true),
            (
                "two runs and an end mark",
                &[(0, 2), (5, 3), (10, 0)],
                10,
                5,
                true,
            ),
            ("overlapping", &[(0, 6), (5, 3)], 10, 9, false),
            ("backwards", &[(5, 3), (0, 2)], 10, 5, false),
            ("beyond the end", &[(8, 3)], 10, 3, false),
            ("more data than runs", &[(0, 2)], 10, 3, false),
            ("less data than runs", &[(0, 2)], 10, 1, false),
            ("offset overflows", &[(u64::MAX, 2)], 10, 2, false),
            ("size beyond what files can have", &[], u64::MAX, 0, false),
        ] {
            assert_eq!(
                SparseMap::new(segments(pairs), size, stored).is_ok(),
                is_good,
                "{name}"
            );
        }
    }

    #[test]
    fn sparse_maps_are_read_from_both_pax_formats() {
        for (text, expected) in [
            (&["map=0,2,5,3"][..], Some(&[(0, 2), (5, 3)][..])),
            (&["offset=5", "numbytes=3"], Some(&[(5, 3)])),
            (&["map=0,2,5"], None),
            (&["numbytes=3", "offset=5"], None),
            (&["offset=5"], None),
        ] {
            let records: String = text
                .iter()
                .map(|record| format!("{} GNU.sparse.{record}\n", record.len() + 15))
                .collect();
            let records = Records::parse(records.into_bytes()).unwrap();
            assert_eq!(
                segments_in_records(&records).ok(),
                expected.map(segments),
                "{text:?}"
            );
        }
    }
}
