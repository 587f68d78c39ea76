//! `mpg_spm_toy`: MPG-SAM 2's tokenizer on a small sentencepiece model beside the case.

use super::{Result, Run, field};
use beit3_encoder::{SentencePiece, Tokenizer};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::Path;

/// What a text becomes.
#[derive(Deserialize)]
struct Row {
    text: String,
    ids: Vec<u32>,
    raw_sp_ids: Vec<u32>,
    raw_sp_pieces: Vec<String>,
}

/// Numbers before `[SEG]` is added.
#[derive(Deserialize)]
struct Base {
    len_sp_model: u32,
    special: BTreeMap<String, u32>,
}

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let file: String = value(run, "spm_file")?;
    let path = run.case.path().parent().unwrap_or(Path::new("")).join(file);
    let model = SentencePiece::open(&path)?;
    let tokenizer = Tokenizer::new(&path.display().to_string(), model.clone())?;

    let base: Base = value(run, "base")?;
    same(run, "len_sp_model", model.piece_count(), base.len_sp_model);
    for (name, id) in base.special {
        let found = match name.as_str() {
            "bos_token" | "cls_token" => Tokenizer::BOS,
            "eos_token" | "sep_token" => Tokenizer::EOS,
            "pad_token" => Tokenizer::PAD,
            "unk_token" => Tokenizer::UNK,
            "mask_token" => tokenizer.mask_id(),
            _ => u32::MAX,
        };
        same(run, &name, found, id);
    }
    let (seg, pad, len): (u32, u32, u32) =
        (value(run, "seg_id")?, value(run, "pad_id_after_assignment")?, value(run, "len_after")?);
    same(run, "seg_id", tokenizer.seg_id(), seg);
    same(run, "pad_id_after_assignment", Tokenizer::UNK, pad);
    same(run, "len_after", tokenizer.vocab_size(), len);
    for (piece, id) in value::<BTreeMap<String, u32>>(run, "piece_to_model_id")? {
        same(run, &format!("id of {piece:?}"), tokenizer.token_id(&piece), id);
    }
    for Row { text, ids, raw_sp_ids, raw_sp_pieces } in value::<Vec<Row>>(run, "rows")? {
        same(run, &format!("ids of {text:?}"), tokenizer.encode(&text)?, ids);
        let (raw_ids, raw_pieces): (Vec<u32>, Vec<String>) =
            model.encode(&text)?.into_iter().map(|piece| (piece.id, piece.text)).unzip();
        same(run, &format!("sentencepiece ids of {text:?}"), raw_ids, raw_sp_ids);
        same(run, &format!("pieces of {text:?}"), raw_pieces, raw_sp_pieces);
    }
    Ok(())
}

fn value<T: DeserializeOwned>(run: &Run<'_, '_>, name: &str) -> Result<T> {
    field(run.case, &format!("values.{name}"), &run.case.values[name])
}

fn same<T: PartialEq + std::fmt::Debug>(run: &mut Run<'_, '_>, name: &str, found: T, expected: T) {
    run.checks.fact(name, found == expected, format!("{found:?}, expected {expected:?}"));
}
