//! The tokenizer on small models written here, and on damaged ones.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

use beit3_encoder::{Error, SentencePiece, Tokenizer};

/// A field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut message = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length > 0x7f {
        message.push(length as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend(bytes);
    message
}

const NORMAL: u8 = 1;
const UNKNOWN: u8 = 2;
const CONTROL: u8 = 3;
const USER_DEFINED: u8 = 4;
const UNUSED: u8 = 5;

fn piece(text: &str, score: f32, kind: u8) -> Vec<u8> {
    let mut message = field(1, text.as_bytes());
    message.push(2 << 3 | 5);
    message.extend(score.to_le_bytes());
    message.extend([3 << 3, kind]);
    field(1, &message)
}

/// `A` becomes `a b`, in the form of precompiled rules.
fn charsmap() -> Vec<u8> {
    let mut units = vec![0u32; 256];
    units[0] = 0x80 << 10; // the root's children begin at 0x80
    units[0x80 ^ 0x41] = 1 << 10 | 1 << 8 | 0x41; // 'A', with a leaf at a distance of 1
    units[0x80 ^ 0x41 ^ 1] = 1 << 31; // the first replacement
    let mut map = 1024u32.to_le_bytes().to_vec();
    map.extend(units.into_iter().flat_map(u32::to_le_bytes));
    map.extend(b"a b\0");
    map
}

/// `<unk>`, `<s>`, `</s>`, then `pieces`; `normalizer` are fields of its message.
fn model(pieces: &[(&str, f32, u8)], trainer: &[u8], normalizer: &[u8]) -> Vec<u8> {
    let mut bytes = piece("<unk>", 0., UNKNOWN);
    bytes.extend([piece("<s>", 0., CONTROL), piece("</s>", 0., CONTROL)].concat());
    for &(text, score, kind) in pieces {
        bytes.extend(piece(text, score, kind));
    }
    bytes.extend(field(2, trainer));
    bytes.extend(field(3, normalizer));
    bytes
}

const LETTERS: [(&str, f32, u8); 4] =
    [("▁", -2., NORMAL), ("a", -1., NORMAL), ("b", -1., NORMAL), ("▁a", -2.5, NORMAL)];

fn tokenizer(pieces: &[(&str, f32, u8)], trainer: &[u8], normalizer: &[u8]) -> Tokenizer {
    let model = SentencePiece::from_bytes("model", &model(pieces, trainer, normalizer)).unwrap();
    Tokenizer::new("model", model).unwrap()
}

/// The pieces of `text`, with bars between them.
fn pieces(tokenizer: &Tokenizer, text: &str) -> String {
    tokenizer.model().encode(text).unwrap().into_iter().map(|piece| piece.text).collect::<Vec<_>>().join("|")
}

#[test]
fn numbering() {
    let tokenizer = tokenizer(&LETTERS, &[], &[]);
    assert_eq!(tokenizer.encode("a b").unwrap(), [0, 7, 4, 6, 2]);
    assert_eq!((tokenizer.mask_id(), tokenizer.seg_id(), tokenizer.vocab_size()), (8, 9, 10));
    let ids = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁a", "<mask>", "[SEG]", "absent"].map(|t| tokenizer.token_id(t));
    assert_eq!(ids, [0, 1, 2, 3, 4, 7, 8, 9, 3]);
}

#[test]
fn texts_without_words() {
    let tokenizer = tokenizer(&LETTERS, &[], &[]);
    for text in ["", " ", "    "] {
        assert_eq!(tokenizer.encode(text).unwrap(), [0, 2], "{text:?}");
    }
    assert_eq!(tokenizer.encode("<s></s>").unwrap(), [0, 0, 2, 2]);
}

#[test]
fn signs_in_texts() {
    let tokenizer = tokenizer(&LETTERS, &[], &[4 << 3, 0]); // spaces are kept
    assert_eq!(tokenizer.encode("a<pad>b").unwrap(), [0, 7, 1, 4, 6, 2]);
    assert_eq!(tokenizer.encode("a [SEG]").unwrap(), [0, 7, 4, 9, 2]);
    assert_eq!(tokenizer.encode("a \t<mask>").unwrap(), [0, 7, 8, 2]);
    assert_eq!(tokenizer.encode("<<unk>").unwrap(), [0, 4, 3, 3, 2]);
}

#[test]
fn unknown_characters_are_one_piece() {
    let tokenizer = tokenizer(&LETTERS, &[], &[]);
    assert_eq!(tokenizer.encode("a日本b").unwrap(), [0, 7, 3, 6, 2]);
    assert_eq!(pieces(&tokenizer, "a日本b"), "▁a|日本|b");
    // a control sign's own characters are no piece of it
    assert_eq!(pieces(&tokenizer, "<s>"), "▁|<s>");
    assert_eq!(tokenizer.model().encode("<s>").unwrap()[1].id, 0);
}

#[test]
fn white_space_as_the_model_says() {
    let suffix = [24 << 3 & 0x7f | 0x80, 1, 1]; // field 24 takes two bytes
    for (trainer, normalizer, expected) in [
        (&[][..], &[][..], "▁a|▁|b"),
        (&[], &[3 << 3, 0], "a|▁|b"),
        (&[], &[4 << 3, 0], "▁|▁|▁a|▁|▁|b|▁"),
        (&[], &[5 << 3, 0], " |a| |b"),
        (&suffix, &[], "a|▁|b|▁"),
    ] {
        let tokenizer = tokenizer(&LETTERS, trainer, normalizer);
        assert_eq!(pieces(&tokenizer, "  a  b "), expected, "{trainer:?} {normalizer:?}");
    }
}

#[test]
fn rules_replace_characters() {
    let rules = field(2, &charsmap());
    let tokenizer = tokenizer(&LETTERS, &[], &rules);
    assert_eq!(pieces(&tokenizer, "bA"), "▁|b|a|▁|b");
    assert_eq!(pieces(&tokenizer, "Ab"), "▁a|▁|b|b");
}

#[test]
fn pieces_of_other_kinds() {
    let more = [
        LETTERS.as_slice(),
        &[("ab", -0.5, UNUSED), ("A", -9., USER_DEFINED), ("c", -3., NORMAL), ("ca", -9., USER_DEFINED)],
    ]
    .concat();
    let tokenizer = tokenizer(&more, &[], &field(2, &charsmap()));
    assert_eq!(pieces(&tokenizer, "ab"), "▁a|b");
    assert_eq!(pieces(&tokenizer, "A"), "▁|A"); // not touched by the rules
    assert_eq!(pieces(&tokenizer, "aca"), "▁a|ca");
}

#[test]
fn models_that_are_not_read() {
    let problem = |bytes: &[u8]| SentencePiece::from_bytes("m.spm", bytes).unwrap_err().to_string();
    let bpe = problem(&model(&LETTERS, &[3 << 3, 2], &[]));
    assert_eq!(bpe, "m.spm: model_type 2, expected 1, a unigram model");
    assert!(problem(&model(&[("<0x00>", 0., 6)], &[], &[])).contains("pieces that are bytes"));
    assert!(problem(&model(&[("a", f32::NAN, NORMAL)], &[], &[])).contains("finite"));
    assert!(problem(&model(&[("a", 0., NORMAL), ("a", 1., NORMAL)], &[], &[])).contains("\"a\" twice"));
    assert!(problem(&model(&[("", 0., NORMAL)], &[], &[])).contains("at least one character"));
    assert!(problem(&model(&[("<unk2>", 0., UNKNOWN)], &[], &[])).contains("unknown type"));
    assert!(problem(&model(&LETTERS, &[], &field(2, &[0, 1, 0, 0, 9]))).contains("a trie of 256 bytes of 1"));
    for bytes in [&b""[..], b"\x0a", b"not a model", b"\x80\x05\x95"] {
        assert!(matches!(SentencePiece::from_bytes("m", bytes), Err(Error::NotAModel { .. })), "{bytes:?}");
    }
    let late = [piece("a", -1., NORMAL), piece("<unk>", 0., UNKNOWN)].concat();
    let late = Tokenizer::new("m.spm", SentencePiece::from_bytes("m.spm", &late).unwrap());
    assert!(late.unwrap_err().to_string().contains("the unknown piece at 1"));
    assert!(matches!(Tokenizer::open("absent.spm"), Err(Error::Io { .. })));
}

#[test]
fn texts_beyond_the_limit() {
    let tokenizer = tokenizer(&LETTERS, &[], &[]);
    let most = "a".repeat(beit3_encoder::tokenizer::MAX_TEXT_BYTES);
    assert_eq!(tokenizer.encode(&most).unwrap().len(), most.len() + 2);
    let error = tokenizer.encode(&format!("{most}a")).unwrap_err();
    assert!(matches!(error, Error::TextTooLong { bytes: 65537, limit: 65536 }), "{error}");
}

/// Rules whose replacements, or whose tries, are not where they say.
#[test]
fn broken_rules() {
    for (place, bits) in [(0x80 ^ 0x41 ^ 1, 900u32), (0x80 ^ 0x41 ^ 1, 0x7fff_ffff)] {
        let mut map = charsmap();
        map[4 + 4 * place..][..4].copy_from_slice(&bits.to_le_bytes());
        let tokenizer = tokenizer(&LETTERS, &[], &field(2, &map));
        assert!(matches!(tokenizer.encode("bA"), Err(Error::BrokenRule { .. })));
        assert!(tokenizer.encode("b").is_ok());
    }
    // a root that leads out of the trie: no rules
    let mut map = charsmap();
    map[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(pieces(&tokenizer(&LETTERS, &[], &field(2, &map)), "A"), "▁|A");
}

/// A real model cut short, or with one byte changed, is refused or used, and nothing worse.
#[test]
fn damaged_files() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/mpg-sam2/mpg_spm_toy.spm");
    let bytes = std::fs::read(path).unwrap();
    let used = |bytes: &[u8]| {
        let Ok(model) = SentencePiece::from_bytes("damaged", bytes) else { return };
        for text in ["the person  on the left", "Ｆｕｌｌ ½ ﬁsh\u{a0}ü\u{0308}日本\u{200d}", ""] {
            let _either_is_right = model.encode(text);
        }
    };
    let mut seed = 1u64;
    for _ in 0..200 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (seed >> 33) as usize % bytes.len();
        used(&bytes[..at]);
        let mut changed = bytes.clone();
        // half of the changes go to the pieces and settings at both ends, the others into the rules
        let at = if seed & 1 << 20 == 0 { at % 4096 } else { at };
        changed[at] ^= (seed >> 25) as u8 | 1;
        used(&changed);
    }
    assert!(SentencePiece::from_bytes("whole", &bytes).is_ok());
}

/// A `tokenizer.json` of XLM-R's form with these pieces.
fn saved(kind: &str, pieces: &[(&str, f32)], normalizer: &str, added: &str) -> String {
    let signs = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)];
    let all = signs.iter().chain(pieces).chain(&[("<mask>", 0.0)]);
    let vocab: Vec<String> = all.map(|(piece, score)| format!("[{piece:?}, {score:?}]")).collect();
    format!(
        r#"{{"version": "1.0", "added_tokens": [{added}], "normalizer": {normalizer},
            "pre_tokenizer": {{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}},
            "model": {{"type": "{kind}", "unk_id": 3, "vocab": [{}], "byte_fallback": false}}}}"#,
        vocab.join(", ")
    )
}

/// What transformers 5 writes in place of the sentencepiece model has the same ids.
#[test]
fn a_saved_tokenizer_has_the_ids_of_its_model() {
    let pieces = [("\u{2581}", -3.0), ("\u{2581}a", -1.0), ("b", -2.0), ("ab", -2.5), ("c", -4.0)];
    let signs = [piece("<unk>", 0.0, UNKNOWN), piece("<s>", 0.0, CONTROL), piece("</s>", 0.0, CONTROL)].concat();
    let rest: Vec<u8> = pieces.iter().flat_map(|&(text, score)| piece(text, score, NORMAL)).collect();
    let rules = field(3, &field(2, &charsmap()));
    let model =
        Tokenizer::new("spm", SentencePiece::from_bytes("spm", &[signs, rest, rules].concat()).unwrap()).unwrap();
    let base64 = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(charsmap())
    };
    let precompiled = format!(r#"{{"type": "Precompiled", "precompiled_charsmap": "{base64}"}}"#);
    let strip = r#"{"type": "Strip", "strip_left": false, "strip_right": true}"#;
    let sequence = format!(r#"{{"type": "Sequence", "normalizers": [{precompiled}, {strip}]}}"#);
    let added = r#"{"id": 0, "content": "<s>"}, {"id": 9, "content": "<mask>"}, {"id": 10, "content": "[SEG]"}"#;
    for normalizer in [&precompiled, &sequence] {
        let json = saved("Unigram", &pieces, normalizer, added);
        let json = Tokenizer::new("json", SentencePiece::from_bytes("json", json.as_bytes()).unwrap()).unwrap();
        assert_eq!((json.mask_id(), json.seg_id()), (model.mask_id(), model.seg_id()));
        for text in ["", "a b", "ab", "A", "AbA  c", "a<mask>b", "a [SEG]", "é a é", " <s> <unk>\tc", "<pad>"] {
            assert_eq!(json.encode(text).unwrap(), model.encode(text).unwrap(), "{text:?}");
        }
    }
}

#[test]
fn saved_tokenizers_of_other_kinds() {
    let refused = |json: &str, cause: &str| {
        let message = SentencePiece::from_bytes("tokenizer.json", json.as_bytes()).unwrap_err().to_string();
        assert!(message.contains(cause) && !message.contains('\n'), "{cause} in {message}");
    };
    let good = saved("Unigram", &[("a", -1.0)], "null", "");
    assert!(SentencePiece::from_bytes("tokenizer.json", good.as_bytes()).is_ok());
    refused(
        r#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}"#,
        "a tokenizer of type BPE, expected Unigram",
    );
    refused(&saved("WordPiece", &[], "null", ""), "of type WordPiece");
    refused(&good.replace("\"unk_id\": 3", "\"unk_id\": 0"), "the unknown one at Some(0)");
    refused(&good.replace("<pad>", "<PAD>"), "<PAD>");
    refused(&saved("Unigram", &[], r#"{"type": "Lowercase"}"#, ""), "a normaliser of type Lowercase");
    refused(&saved("Unigram", &[], r#"{"type": "Precompiled", "precompiled_charsmap": "*"}"#, ""), "not base64");
    refused(&saved("Unigram", &[], "null", r#"{"id": 4, "content": "<loc>"}"#), "\"<loc>\" with the id 4");
    refused(&good[..good.len() / 2], "not a sentencepiece model: tokenizer.json");
    refused("{}", "missing field");
}
