//! Where the data of a file with holes is.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{SeekFrom, Stat};
use rustix::io::Errno;

use crate::stream::Run;

/// The runs of data in a file with holes, in order.
pub(super) struct DataRuns<'f> {
    file: BorrowedFd<'f>,
    size: u64,
    /// Where the next run is looked for.
    at: u64,
}

impl<'f> DataRuns<'f> {
    /// The runs of `file`, whose size is in `stat`; `None` if it has no holes. Taking a run moves
    /// the file's offset.
    pub(super) fn of(file: BorrowedFd<'f>, stat: &Stat) -> Option<DataRuns<'f>> {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let on_disk = u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        (on_disk < size).then_some(DataRuns { file, size, at: 0 })
    }

    /// Finds the next run; `None` if only a hole is left.
    fn seek(&self) -> rustix::io::Result<Option<Run>> {
        let start = match rustix::fs::seek(self.file, SeekFrom::Data(self.at)) {
            Ok(start) if start < self.size => start,
            Ok(_) | Err(Errno::NXIO) => return Ok(None),
            // The file system does not tell where holes are.
            Err(Errno::INVAL) => return Ok(Some((self.at, self.size - self.at))),
            Err(error) => return Err(error),
        };
        let end = rustix::fs::seek(self.file, SeekFrom::Hole(start))?;
        // A run without bytes, from a faulty file system, would be found again forever.
        let end = if end > start { end } else { self.size };
        Ok(Some((start, end.min(self.size) - start)))
    }
}

impl Iterator for DataRuns<'_> {
    type Item = io::Result<Run>;

    fn next(&mut self) -> Option<io::Result<Run>> {
        if self.at >= self.size {
            return None;
        }
        let run = self.seek().map_err(io::Error::from).transpose();
        self.at = match run {
            Some(Ok(run)) => end_of(run),
            _ => self.size,
        };
        run
    }
}

/// Lists the runs of data in a file for an archive, at most `limit` of them; `None` if it has no
/// holes. In a file with more runs the smallest holes count as data. The file's offset is zero
/// afterwards.
pub(super) fn list_runs(
    file: BorrowedFd<'_>,
    stat: &Stat,
    limit: usize,
) -> io::Result<Option<Vec<Run>>> {
    let Some(found) = DataRuns::of(file, stat) else {
        return Ok(None);
    };
    let size = found.size;
    let mut runs = Vec::new();
    for run in found {
        runs.push(run?);
        if runs.len() >= limit {
            fill_small_holes(&mut runs);
        }
    }
    rustix::fs::seek(file, SeekFrom::Start(0))?;
    // An archive marks the end of the file with an empty run.
    if runs.last().is_none_or(|&run| end_of(run) < size) {
        runs.push((size, 0));
    }
    Ok(Some(runs).filter(|runs| runs[..] != [(0, size)]))
}

/// Joins the runs around the smallest quarter of the holes.
fn fill_small_holes(runs: &mut Vec<Run>) {
    let hole = |before: Run, after: Run| after.0 - end_of(before);
    let mut holes: Vec<u64> = runs.windows(2).map(|two| hole(two[0], two[1])).collect();
    let last = (holes.len() - 1) / 4;
    let (_, largest, _) = holes.select_nth_unstable(last);
    runs.dedup_by(|after, before| {
        let is_small = hole(*before, *after) <= *largest;
        if is_small {
            before.1 = end_of(*after) - before.0;
        }
        is_small
    });
}

fn end_of((offset, length): Run) -> u64 {
    offset + length
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileExt;

    use super::*;

    const BLOCK: u64 = 64 << 10;

    /// A file with a block of data at each of these offsets, counted in blocks.
    fn sparse(blocks: &[u64], size: u64) -> File {
        let file = tempfile::tempfile().unwrap();
        for block in blocks {
            file.write_all_at(&[1; BLOCK as usize], block * BLOCK)
                .unwrap();
        }
        file.set_len(size * BLOCK).unwrap();
        file
    }

    fn listed(file: &File, limit: usize) -> Option<Vec<Run>> {
        let stat = rustix::fs::fstat(file).unwrap();
        let runs = list_runs(file.as_fd(), &stat, limit).unwrap()?;
        let in_blocks = |(offset, length): Run| (offset / BLOCK, length / BLOCK);
        Some(runs.into_iter().map(in_blocks).collect())
    }

    #[test]
    fn runs_of_data_are_listed_up_to_the_end_of_the_file() {
        for (blocks, size, expected) in [
            (&[][..], 9, Some(vec![(9, 0)])),
            (&[0], 1, None),
            (&[0], 9, Some(vec![(0, 1), (9, 0)])),
            (&[2, 3, 8], 9, Some(vec![(2, 2), (8, 1)])),
        ] {
            assert_eq!(listed(&sparse(blocks, size), 99), expected, "{blocks:?}");
        }
    }

    #[test]
    fn a_list_that_is_full_loses_the_smallest_holes() {
        let file = sparse(&[0, 2, 4, 90, 92, 180, 190], 999);
        for limit in 4..9 {
            let runs = listed(&file, limit).unwrap();
            assert!(runs.len() <= limit, "{runs:?}");
            let data: u64 = runs.iter().map(|(_, length)| length).sum();
            assert!(data <= 5 + 3 + 11, "{runs:?}");
            assert_eq!(runs.last(), Some(&(999, 0)));
        }
    }
}
