//! Writes tar archives entry by entry; the entries need not be valid.

/// A layer under construction. The archive holds the entries in the order in which they were added.
#[derive(Clone, Default)]
pub(crate) struct LayerBuilder {
    bytes: Vec<u8>,
}

/// The header format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    V7,
    Ustar,
    Gnu,
}

/// One entry; [`LayerBuilder::entry`] adds it.
#[derive(Clone, Debug)]
pub(crate) struct TarEntry {
    pub(crate) name: Vec<u8>,
    pub(crate) flag: u8,
    pub(crate) mode: u32,
    pub(crate) mtime: i64,
    pub(crate) link: Vec<u8>,
    pub(crate) content: Vec<u8>,
    /// The size in the header, if it is not that of the content.
    pub(crate) size: Option<u64>,
    pub(crate) format: Format,
    pub(crate) pax: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The default mtime of entries.
pub(crate) const MTIME: i64 = 1_500_000_000;

impl TarEntry {
    pub(crate) fn new(flag: u8, name: impl AsRef<[u8]>) -> TarEntry {
        TarEntry {
            name: name.as_ref().to_vec(),
            flag,
            mode: if flag == b'5' { 0o755 } else { 0o644 },
            mtime: MTIME,
            link: Vec::new(),
            content: Vec::new(),
            size: None,
            format: Format::Ustar,
            pax: Vec::new(),
        }
    }

    pub(crate) fn mode(mut self, mode: u32) -> TarEntry {
        self.mode = mode;
        self
    }

    pub(crate) fn mtime(mut self, mtime: i64) -> TarEntry {
        self.mtime = mtime;
        self
    }

    pub(crate) fn link(mut self, link: impl AsRef<[u8]>) -> TarEntry {
        self.link = link.as_ref().to_vec();
        self
    }

    pub(crate) fn content(mut self, content: impl AsRef<[u8]>) -> TarEntry {
        self.content = content.as_ref().to_vec();
        self
    }

    pub(crate) fn declared_size(mut self, size: u64) -> TarEntry {
        self.size = Some(size);
        self
    }

    pub(crate) fn format(mut self, format: Format) -> TarEntry {
        self.format = format;
        self
    }

    pub(crate) fn pax(mut self, key: &str, value: impl AsRef<[u8]>) -> TarEntry {
        self.pax
            .push((key.as_bytes().to_vec(), value.as_ref().to_vec()));
        self
    }

    fn header(&self) -> [u8; 512] {
        let mut block = [0; 512];
        let mut put = |at: usize, field: &[u8]| block[at..at + field.len()].copy_from_slice(field);
        put(0, &self.name[..self.name.len().min(100)]);
        put(100, format!("{:07o}\0", self.mode).as_bytes());
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        let size = self.size.unwrap_or(self.content.len() as u64);
        put(124, &number(size as i64));
        put(136, &number(self.mtime));
        put(156, &[self.flag]);
        put(157, &self.link[..self.link.len().min(100)]);
        match self.format {
            Format::V7 => {}
            Format::Ustar => put(257, b"ustar\x0000"),
            Format::Gnu => put(257, b"ustar  \0"),
        }
        seal(&mut block);
        block
    }
}

/// Twelve digits of octal, or base 256 where those do not suffice.
fn number(value: i64) -> Vec<u8> {
    if (0..1 << 33).contains(&value) {
        return format!("{value:011o}\0").into_bytes();
    }
    let fill = if value < 0 { 0xff } else { 0 };
    let mut field = vec![fill; 4];
    field.extend(value.to_be_bytes());
    field[0] |= 0x80;
    field
}

/// Sets the checksum of a header.
pub(crate) fn seal(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

impl LayerBuilder {
    pub(crate) fn new() -> LayerBuilder {
        LayerBuilder::default()
    }

    /// Adds an entry. Names and links longer than their fields go into PAX records, or into GNU
    /// headers in the GNU format.
    pub(crate) fn entry(mut self, mut entry: TarEntry) -> LayerBuilder {
        if entry.format == Format::Gnu {
            for (flag, text) in [(b'L', &entry.name), (b'K', &entry.link)] {
                if text.len() > 100 {
                    let long = TarEntry::new(flag, "././@LongLink")
                        .content([text, &b"\0"[..]].concat())
                        .format(Format::Gnu);
                    self = self.raw(long.header()).data(&long.content);
                }
            }
        } else {
            if entry.name.len() > 100 {
                let name = entry.name.clone();
                entry = entry.pax("path", name);
            }
            if entry.link.len() > 100 {
                let link = entry.link.clone();
                entry = entry.pax("linkpath", link);
            }
        }
        if !entry.pax.is_empty() {
            let content = pax_records(&entry.pax);
            let extended = TarEntry::new(b'x', "PaxHeaders/entry").content(&content);
            self = self.raw(extended.header()).data(&content);
        }
        self.raw(entry.header()).data(&entry.content)
    }

    /// Adds raw bytes.
    pub(crate) fn raw(mut self, bytes: impl AsRef<[u8]>) -> LayerBuilder {
        self.bytes.extend_from_slice(bytes.as_ref());
        self
    }

    /// Adds bytes, padded to a whole block.
    pub(crate) fn data(mut self, bytes: &[u8]) -> LayerBuilder {
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> LayerBuilder {
        self.entry(TarEntry::new(b'0', name).content(content))
    }

    pub(crate) fn directory(self, name: impl AsRef<[u8]>) -> LayerBuilder {
        self.entry(TarEntry::new(b'5', name))
    }

    pub(crate) fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> LayerBuilder {
        self.entry(TarEntry::new(b'2', name).link(target).mode(0o777))
    }

    pub(crate) fn hard_link(
        self,
        name: impl AsRef<[u8]>,
        target: impl AsRef<[u8]>,
    ) -> LayerBuilder {
        self.entry(TarEntry::new(b'1', name).link(target))
    }

    /// Adds a whiteout of `path`.
    pub(crate) fn whiteout(self, path: &str) -> LayerBuilder {
        let name = match path.rsplit_once('/') {
            Some((parent, name)) => format!("{parent}/.wh.{name}"),
            None => format!(".wh.{path}"),
        };
        self.file(name, "")
    }

    /// Adds an opaque whiteout of the directory `path`.
    pub(crate) fn opaque(self, path: &str) -> LayerBuilder {
        self.file(format!("{path}/.wh..wh..opq"), "")
    }

    /// The archive, with its two blocks of zeros at the end.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self.bytes
    }
}

/// Records of a PAX header; the length of each counts itself.
pub(crate) fn pax_records(records: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + rest.to_string().len();
        length = rest + length.to_string().len();
        bytes.extend(format!("{length} ").bytes());
        bytes.extend(key);
        bytes.push(b'=');
        bytes.extend(value);
        bytes.push(b'\n');
    }
    bytes
}
