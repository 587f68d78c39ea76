//! Plain values of pickles: RefCOCO's references as Python 2 wrote them.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

use seg_checkpoints::from_pickle;
use serde::Deserialize;

#[derive(Debug, PartialEq, Deserialize)]
struct Reference {
    ann_id: u64,
    split: String,
    sentences: Vec<Sentence>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Sentence {
    sent: String,
}

/// The same references in protocols 0 and 2 of Python 2, with its strings of bytes, and in protocol 4.
const PROTOCOLS: [&[u8]; 3] = [
    b"(lp0\n(dp1\nS'sent_ids'\np2\n(lp3\nI0\naI1\nasS'file_name'\np4\nS'COCO_1.jpg'\np5\nsS'ann_id'\np6\nI1719310\nsS'split'\np7\nS'train'\np8\nsS'score'\np9\nF0.5\nsS'sentences'\np10\n(lp11\n(dp12\nS'tokens'\np13\n(lp14\nS'left'\np15\naS'man'\np16\nasS'raw'\np17\nS'left man.'\np18\nsS'sent_id'\np19\nI0\nsS'sent'\np20\nS'left man'\np21\nsa(dp22\ng13\n(lp23\nS'he'\np24\nasg17\nS'HE'\np25\nsg19\nI1\nsg20\nS'caf\\xe9'\np26\nsasa(dp27\ng6\nI3\nsg7\nS'testA'\np28\nsg10\n(tsa.",
    b"\x80\x02]q\x00(}q\x01(U\x08sent_idsq\x02]q\x03(K\x00K\x01eU\x09file_nameq\x04U\nCOCO_1.jpgq\x05U\x06ann_idq\x06J\x0e<\x1a\x00U\x05splitq\x07U\x05trainq\x08U\x05scoreq\x09G?\xe0\x00\x00\x00\x00\x00\x00U\x09sentencesq\n]q\x0b(}q\x0c(U\x06tokensq\x0d]q\x0e(U\x04leftq\x0fU\x03manq\x10eU\x03rawq\x11U\x09left man.q\x12U\x07sent_idq\x13K\x00U\x04sentq\x14U\x08left manq\x15u}q\x16(h\x0d]q\x17U\x02heq\x18ah\x11U\x02HEq\x19h\x13K\x01h\x14U\x04caf\xe9q\x1aueu}q\x1b(h\x06K\x03h\x07U\x05testAq\x1ch\n)ue.",
    b"\x80\x04\x95\xfa\x00\x00\x00\x00\x00\x00\x00]\x94(}\x94(\x8c\x08sent_ids\x94]\x94(K\x00K\x01e\x8c\x09file_name\x94\x8c\nCOCO_1.jpg\x94\x8c\x06ann_id\x94J\x0e<\x1a\x00\x8c\x05split\x94\x8c\x05train\x94\x8c\x05score\x94G?\xe0\x00\x00\x00\x00\x00\x00\x8c\x09sentences\x94]\x94(}\x94(\x8c\x06tokens\x94]\x94(\x8c\x04left\x94\x8c\x03man\x94e\x8c\x03raw\x94\x8c\x09left man.\x94\x8c\x07sent_id\x94K\x00\x8c\x04sent\x94\x8c\x08left man\x94u}\x94(h\x0d]\x94\x8c\x02he\x94ah\x11\x8c\x02HE\x94h\x13K\x01h\x14\x8c\x05caf\xc3\xa9\x94ueu}\x94(h\x06K\x03h\x07\x8c\x05testA\x94h\n)ue.",
];

fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("refs(unc).p");
    std::fs::write(&path, bytes).unwrap();
    from_pickle(&path).map_err(|e| e.to_string())
}

#[test]
fn references_of_every_protocol() {
    let sentences = ["left man", "caf\u{e9}"].map(|sent| Sentence { sent: sent.into() }).into();
    let expected = vec![
        Reference { ann_id: 1_719_310, split: "train".into(), sentences },
        Reference { ann_id: 3, split: "testA".into(), sentences: Vec::new() },
    ];
    for bytes in PROTOCOLS {
        assert_eq!(read::<Vec<Reference>>(bytes).unwrap(), expected);
    }
}

#[test]
fn other_values_are_refused_by_name() {
    let bytes = PROTOCOLS[2];
    let error = read::<Vec<String>>(bytes).unwrap_err();
    assert!(error.contains("refs(unc).p") && error.contains("invalid type: map, expected a string"), "{error}");
    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Scored {
        score: Option<f64>,
    }
    assert!(read::<Vec<Scored>>(bytes).unwrap_err().contains("a number, expected texts"));
    assert!(read::<Vec<Reference>>(&bytes[..60]).is_err());
    assert!(read::<Vec<Reference>>(b"").is_err());
    // a list that is named again and again: 2^40 values in a few bytes
    let mut bomb = b"]q\x00".to_vec();
    for level in 1..=40u8 {
        bomb.extend([b']', b'q', level, b'(', b'h', level - 1, b'h', level - 1, b'e']);
    }
    bomb.push(b'.');
    assert!(read::<serde_json::Value>(&bomb).unwrap_err().contains("deeper than"));
}
