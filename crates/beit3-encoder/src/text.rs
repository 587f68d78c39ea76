//! Token ids as the encoder takes them.

use candle_core::{Device, Result, Tensor};

/// A batch of texts as token ids, filled up on the right to the longest.
#[derive(Clone, Debug)]
pub struct TextTokens {
    ids: Tensor,             // [B, L], U32
    padding: Option<Tensor>, // [B, L], U8, 1 where a token is masked; none where no token is
    dims: (usize, usize),
    largest_id: u32,
}

impl TextTokens {
    /// Rows of ids, filled up with `pad_id`. **Every** token of that id counts as padding, in the middle of a row too: MPG-SAM 2 pads with
    /// `<unk>` ([`Tokenizer::UNK`](crate::Tokenizer::UNK)), so that unknown words are not seen.
    ///
    /// # Errors
    /// Besides candle's, no rows, or rows without any token (a tokenizer's shortest is `<s></s>`).
    pub fn padded(rows: &[Vec<u32>], pad_id: u32, device: &Device) -> Result<Self> {
        let length = rows.iter().map(Vec::len).max().unwrap_or(0);
        if rows.iter().any(Vec::is_empty) || length == 0 {
            candle_core::bail!(
                "texts: {} rows of up to {length} tokens, expected at least one token in each",
                rows.len()
            );
        }
        let fill =
            |row: &Vec<u32>| row.iter().copied().chain(std::iter::repeat(pad_id)).take(length).collect::<Vec<_>>();
        let ids: Vec<u32> = rows.iter().flat_map(fill).collect();
        let masked: Vec<u8> = ids.iter().map(|&id| u8::from(id == pad_id)).collect();
        let dims = (rows.len(), length);
        let padding = match masked.contains(&1) {
            true => Some(Tensor::from_vec(masked, dims, device)?),
            false => None,
        };
        let largest_id = ids.iter().copied().max().unwrap_or(0);
        Ok(Self { ids: Tensor::from_vec(ids, dims, device)?, padding, dims, largest_id })
    }

    /// Each text `times` times in succession: one text for all frames of a video.
    pub fn repeated(&self, times: usize) -> Result<Self> {
        let (b, l) = self.dims;
        let repeat = |x: &Tensor| x.unsqueeze(1)?.expand((b, times, l))?.reshape((b * times, l));
        Ok(Self {
            ids: repeat(&self.ids)?,
            padding: self.padding.as_ref().map(repeat).transpose()?,
            dims: (b * times, l),
            largest_id: self.largest_id,
        })
    }

    /// The ids, `[B, L]`.
    pub fn ids(&self) -> &Tensor {
        &self.ids
    }

    /// 1 for tokens that nothing may look at, 0 for the others, `[B, L]` bytes; none where all may be looked at.
    pub fn padding(&self) -> Option<&Tensor> {
        self.padding.as_ref()
    }

    /// Texts, and tokens of each.
    pub fn dims(&self) -> (usize, usize) {
        self.dims
    }

    /// The largest id: what a vocabulary must have.
    pub fn largest_id(&self) -> u32 {
        self.largest_id
    }
}
