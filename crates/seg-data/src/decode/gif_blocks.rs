//! The blocks of a GIF before anything is decoded: how many frames there are, and where the file really ends.

use std::borrow::Cow;

const TRAILER: u8 = 0x3b;

/// What the blocks say.
pub(super) struct Blocks<'b> {
    /// The file up to the end of its last whole block, and a trailer; from a file that breaks off in a block, all of it.
    pub bytes: Cow<'b, [u8]>,
    /// Whole frames.
    pub frames: usize,
    /// Whether it breaks off in the middle of a block.
    pub cut: bool,
}

/// Walks over the blocks. A missing or damaged trailer, and whatever stands in its place, ends the file without harm.
pub(super) fn scan(bytes: &[u8]) -> Blocks<'_> {
    let table = |packed: u8| if packed & 0x80 == 0 { 0 } else { 3usize << ((packed & 7) + 1) };
    let mut blocks = Blocks { bytes: Cow::Borrowed(bytes), frames: 0, cut: true };
    let Some(&packed) = bytes.get(10) else { return blocks };
    let mut at = 13 + table(packed);
    loop {
        let end = match bytes.get(at) {
            Some(0x21) => sub_blocks(bytes, at + 2),
            Some(0x2c) => {
                let end = bytes.get(at + 9).and_then(|packed| sub_blocks(bytes, at + 11 + table(*packed)));
                blocks.frames += usize::from(end.is_some());
                end
            }
            Some(&TRAILER) => return Blocks { cut: false, ..blocks },
            _ if at <= bytes.len() => {
                let mut whole = bytes[..at].to_vec();
                whole.push(TRAILER);
                return Blocks { bytes: Cow::Owned(whole), cut: false, ..blocks };
            }
            _ => return blocks,
        };
        match end {
            Some(end) => at = end,
            None => return blocks,
        }
    }
}

/// The end of the blocks of data that begin at `at`; none when the file ends before.
fn sub_blocks(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match usize::from(*bytes.get(at)?) {
            0 => return Some(at + 1),
            length => at += 1 + length,
        }
    }
}
