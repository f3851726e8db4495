//! Headers of tar, as GNU tar writes them (tar(5) of libarchive, "GNU tar archives"). Pure.

/// Everything in a tar stream is a multiple of this.
pub(super) const BLOCK: usize = 512;
/// Longest name that stands in the header itself.
const NAME_MAX: usize = 100;
/// Longest name that is taken at all, in bytes.
pub(super) const LONG_MAX: u64 = 64 * 1024;
const MAGIC: &[u8] = b"ustar  \0";

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    /// Another name of a file that came before.
    Hardlink,
    /// The name of the next entry, which is too long for its header.
    LongName,
    /// The target of the next entry.
    LongLink,
}

impl Kind {
    const ALL: [(Self, u8); 6] = [
        (Self::File, b'0'),
        (Self::Directory, b'5'),
        (Self::Symlink, b'2'),
        (Self::Hardlink, b'1'),
        (Self::LongName, b'L'),
        (Self::LongLink, b'K'),
    ];

    fn byte(self) -> u8 {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or(b'0', |(_, byte)| *byte)
    }
}

/// One header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    /// Bytes of data behind it.
    pub(super) size: u64,
    pub(super) mode: u32,
    /// In seconds since 1970.
    pub(super) mtime: u64,
}

impl Header {
    pub(super) fn new(kind: Kind, name: &[u8]) -> Self {
        Self { kind, name: name.to_vec(), link: Vec::new(), size: 0, mode: 0o600, mtime: 0 }
    }

    /// The blocks that stand for it; several if a name is long.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BLOCK);
        for (kind, name) in [(Kind::LongLink, &self.link), (Kind::LongName, &self.name)] {
            if name.len() > NAME_MAX {
                let mut long = Self::new(kind, b"././@LongLink");
                long.size = name.len() as u64 + 1;
                out.extend_from_slice(&long.block());
                out.extend_from_slice(name);
                out.resize(out.len() + 1, 0);
                out.resize(out.len().next_multiple_of(BLOCK), 0);
            }
        }
        out.extend_from_slice(&self.block());
        out
    }

    fn block(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.name[..self.name.len().min(NAME_MAX)]);
        put(100, format!("{:07o}\0", self.mode & 0o7777).as_bytes());
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, &number(self.size));
        put(136, &number(self.mtime));
        put(148, b"        ");
        put(156, &[self.kind.byte()]);
        put(157, &self.link[..self.link.len().min(NAME_MAX)]);
        put(257, MAGIC);
        let sum = checksum(&block);
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }

    /// Reads one block. The name may be the beginning of one that came before it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn decode(block: &[u8; BLOCK]) -> Result<Self, String> {
        if &block[257..265] != MAGIC {
            return Err("it is not a header of such an archive".into());
        }
        let sum = octal(&block[148..156]).ok_or("its checksum can't be read")?;
        if sum != u64::from(checksum(block)) {
            return Err("its checksum is wrong".into());
        }
        let found = Kind::ALL.iter().find(|(_, byte)| *byte == block[156]);
        let Some((kind, _)) = found else {
            return Err(match block[156] {
                b'3' | b'4' => "it is a device".into(),
                b'6' => "it is a pipe".into(),
                other => format!("it is of an unknown type {:?}", char::from(other)),
            });
        };
        let field = |at: usize| {
            let text = &block[at..at + NAME_MAX];
            text[..text.iter().position(|b| *b == 0).unwrap_or(NAME_MAX)].to_vec()
        };
        Ok(Self {
            kind: *kind,
            name: field(0),
            link: field(157),
            size: read_number(&block[124..136]).ok_or("its size can't be read")?,
            mode: octal(&block[100..108])
                .and_then(|mode| u32::try_from(mode).ok())
                .ok_or("its mode can't be read")?,
            mtime: read_number(&block[136..148]).ok_or("its time can't be read")?,
        })
    }
}

/// Eleven octal digits, or, of larger numbers, eleven bytes behind 0x80.
fn number(value: u64) -> [u8; 12] {
    let mut field = [0; 12];
    if value < 1 << 33 {
        field[..11].copy_from_slice(format!("{value:011o}").as_bytes());
    } else {
        field[0] = 0x80;
        field[4..].copy_from_slice(&value.to_be_bytes());
    }
    field
}

fn read_number(field: &[u8]) -> Option<u64> {
    if field[0] != 0x80 {
        return octal(field);
    }
    let (head, tail) = field.split_at(4);
    let bytes: [u8; 8] = tail.try_into().ok()?;
    (head == [0x80, 0, 0, 0]).then(|| u64::from_be_bytes(bytes))
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    (!text.starts_with('+')).then(|| u64::from_str_radix(text, 8).ok()).flatten()
}

/// The sum of all bytes, those of the checksum itself taken for blanks.
fn checksum(block: &[u8; BLOCK]) -> u32 {
    let bytes = block.iter().enumerate();
    bytes.map(|(at, b)| if (148..156).contains(&at) { 32 } else { u32::from(*b) }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_header_is_read_back_as_it_was_written(
            kind in 0..6_usize, size: u64, mtime: u64, mode in 0..0o10000_u32,
            name in proptest::collection::vec(1_u8.., 1..=100),
            link in proptest::collection::vec(1_u8.., 0..=100),
        ) {
            let header = Header { kind: Kind::ALL[kind].0, name, link, size, mode, mtime };
            let bytes = header.encode();
            assert_eq!(bytes.len(), BLOCK);
            let block: [u8; BLOCK] = bytes.try_into().unwrap();
            assert_eq!(Header::decode(&block), Ok(header));
        }

        #[test]
        fn a_header_with_one_other_byte_is_not_read_as_the_same(at in 0..BLOCK, bit in 0..8_u8) {
            let mut header = Header::new(Kind::File, b"data/file");
            header.size = 77;
            let mut block: [u8; BLOCK] = header.encode().try_into().unwrap();
            block[at] ^= 1_u8 << bit;
            // Of the checksum's own bytes, another padding is the same number.
            assert!(Header::decode(&block) != Ok(header) || (148..156).contains(&at));
        }

        #[test]
        fn whatever_a_block_holds_it_is_read_or_refused(block: [u8; 32]) {
            let mut whole = [0; BLOCK];
            whole[..32].copy_from_slice(&block);
            whole[257..265].copy_from_slice(MAGIC);
            let _ = Header::decode(&whole);
        }
    }

    #[test]
    fn long_names_stand_before_the_header_and_devices_are_refused() {
        let mut header = Header::new(Kind::Symlink, &[b'n'; 300]);
        header.link = vec![b'l'; 101];
        assert_eq!(header.encode().len(), 5 * BLOCK);
        let mut device = Header::new(Kind::File, b"data/null").block();
        device[156] = b'3';
        let sum = checksum(&device);
        device[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert_eq!(Header::decode(&device), Err("it is a device".into()));
    }
}
