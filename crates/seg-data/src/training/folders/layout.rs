//! Where data sets keep their pictures and masks: as data, so that another one needs no code.

use serde::{Deserialize, Serialize};

use crate::error::{DataError, Result};

/// Where a data set's pictures and masks lie. Can be written in TOML or JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// What to call it.
    pub name: String,
    /// Its parts. Several of one name are ways in which that part is found: the first one that is there counts.
    pub splits: Vec<Split>,
}

/// A part of a data set: a folder of pictures and one of masks.
///
/// Names of folders are compared without regard to upper and lower case, and `-`, `_` and a blank are the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// What to call it.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub part: Part,
    /// Folders below the root in which `images` and `masks` are looked for, with `/` between levels; `""` is the root itself. One whose last name is
    /// the root's own name is the root, too. None: the root.
    #[serde(default)]
    pub folders: Vec<String>,
    /// Names that the folder of pictures may have; none: the usual ones (`im`, `images`, `Imgs`, …).
    #[serde(default)]
    pub images: Vec<String>,
    /// Names that the folder of masks may have; none: the usual ones (`gt`, `masks`, `labels`, …).
    #[serde(default)]
    pub masks: Vec<String>,
    /// Names that a folder of coarse masks may have, one a picture, of the picture's size and stem: what a promptable model is told. None: there is none.
    #[serde(default)]
    pub prompts: Vec<String>,
    /// Endings that count in the folder of pictures, without the dot; none: all of images.
    #[serde(default)]
    pub image_endings: Vec<String>,
    /// Endings that count in the folder of masks.
    #[serde(default)]
    pub mask_endings: Vec<String>,
    /// What a mask's stem has behind that of its picture, such as `_mask`.
    #[serde(default)]
    pub mask_suffix: String,
    /// The folder of masks has those of other parts as well: a mask without a picture is no fault.
    #[serde(default)]
    pub masks_shared: bool,
    /// The same picture may come several times with different masks.
    #[serde(default)]
    pub repeats: bool,
}

/// What a part of a data set is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// To learn from.
    #[default]
    Train,
    /// To choose by.
    Validation,
    /// To report on.
    Test,
}

/// Names (as [`plain`] writes them) that folders of pictures have, and those of masks.
pub(super) const IMAGE_NAMES: [&str; 13] = [
    "im",
    "images",
    "imgs",
    "image",
    "img",
    "photos",
    "pictures",
    "jpegimages",
    "jpgs",
    "rgb",
    "input",
    "inputs",
    "source",
];
pub(super) const MASK_NAMES: [&str; 17] = [
    "gt",
    "masks",
    "mask",
    "gts",
    "labels",
    "label",
    "annotations",
    "annotation",
    "ground truth",
    "groundtruth",
    "gt object",
    "segmentations",
    "segmentation",
    "alpha",
    "alphas",
    "mattes",
    "truth",
];

/// A folder's name in lower case, with blanks for `-` and `_`.
pub(super) fn plain(name: &str) -> String {
    name.to_lowercase().replace(['-', '_'], " ")
}

/// The names of [`named`].
pub const LAYOUTS: [&str; 14] = [
    "dis5k", "dis-sam", "hrsod", "uhrsd", "davis-s", "duts", "hku-is", "cod10k", "camo", "nc4k", "mas3k", "rmas",
    "eorssd", "orssd",
];

/// The layout of a public data set.
///
/// # Errors
/// A name that is not in [`LAYOUTS`].
pub fn named(name: &str) -> Result<Layout> {
    let key = plain(name).replace(' ', "-");
    let unknown = || DataError::UnknownLayout { name: name.to_owned(), known: LAYOUTS.join(", ") };
    let splits = splits(&key).ok_or_else(unknown)?;
    Ok(Layout { name: key, splits })
}

fn splits(key: &str) -> Option<Vec<Split>> {
    use Part::{Test, Train, Validation};
    let of = |name: &str, part, folders: &[&str], images: &[&str], masks: &[&str]| {
        let [folders, images, masks] =
            [folders, images, masks].map(|names| names.iter().map(|&n| n.to_owned()).collect());
        Split { name: name.to_owned(), part, folders, images, masks, ..Split::default() }
    };
    // the folders of a split, named by what all their names begin with
    let usual = |name: &str, part, folders: &[&str]| of(name, part, folders, &[], &[]);
    Some(match key {
        // im and gt in each; DIS-SAM's own folders beside them
        "dis5k" => {
            let tests = ["DIS-TE1", "DIS-TE2", "DIS-TE3", "DIS-TE4"];
            let tests = tests.map(|name| of(name, Test, &[name], &["im"], &["gt"]));
            let learn = [
                of("DIS-TR", Train, &["DIS-TR"], &["im"], &["gt"]),
                of("DIS-VD", Validation, &["DIS-VD"], &["im"], &["gt"]),
            ];
            learn.into_iter().chain(tests).collect()
        }
        // one sample for each part of a mask: the picture is there several times
        "dis-sam" => [("DIS-TR", Train), ("DIS-VD", Validation), ("DIS-TE", Test), ("DIS5K-test", Test)]
            .map(|(name, part)| Split {
                repeats: true,
                prompts: vec!["enhance_sam".to_owned()],
                ..of(name, part, &[name], &["enhance_im"], &["enhance_gt"])
            })
            .into(),
        "hrsod" => vec![
            usual("HRSOD-TR", Train, &["HRSOD-TR", "HRSOD_train", "train"]),
            of(
                "HRSOD-TR",
                Train,
                &["", "HRSOD"],
                &["HRSOD_train", "HRSOD-TR-Image"],
                &["HRSOD_train_mask", "HRSOD-TR-Mask"],
            ),
            usual("HRSOD-TE", Test, &["HRSOD-TE", "HRSOD_test", "test"]),
            of(
                "HRSOD-TE",
                Test,
                &["", "HRSOD"],
                &["HRSOD_test", "HRSOD-TE-Image"],
                &["HRSOD_test_mask", "HRSOD-TE-Mask"],
            ),
        ],
        "uhrsd" => vec![
            usual("UHRSD-TR", Train, &["UHRSD_TR_2K", "UHRSD-TR", "UHRSD_TR_4K", "train"]),
            usual("UHRSD-TE", Test, &["UHRSD_TE_2K", "UHRSD-TE", "UHRSD_TE_4K", "test"]),
        ],
        "davis-s" => vec![usual("DAVIS-S", Test, &["", "DAVIS-S"])],
        "duts" => vec![
            of("DUTS-TR", Train, &["DUTS-TR"], &["DUTS-TR-Image"], &["DUTS-TR-Mask"]),
            usual("DUTS-TR", Train, &["DUTS-TR"]),
            of("DUTS-TE", Test, &["DUTS-TE"], &["DUTS-TE-Image"], &["DUTS-TE-Mask"]),
            usual("DUTS-TE", Test, &["DUTS-TE"]),
        ],
        "hku-is" => vec![usual("HKU-IS", Test, &["", "HKU-IS"])],
        // as COD's code shares it (TrainDataset is COD10K's and CAMO's), and as COD10K itself comes
        "cod10k" => vec![
            of("train", Train, &["TrainDataset", "COD10K/Train", "Train"], &["Imgs", "Image"], &["GT", "GT_Object"]),
            of(
                "COD10K",
                Test,
                &["TestDataset/COD10K", "COD10K", "COD10K/Test", "Test"],
                &["Imgs", "Image"],
                &["GT", "GT_Object"],
            ),
            of("CAMO", Test, &["TestDataset/CAMO", "CAMO"], &["Imgs"], &["GT"]),
            of("CHAMELEON", Test, &["TestDataset/CHAMELEON", "CHAMELEON"], &["Imgs"], &["GT"]),
            of("NC4K", Test, &["TestDataset/NC4K", "NC4K"], &["Imgs"], &["GT"]),
        ],
        // the original has the masks of both parts in one folder
        "camo" => vec![
            Split { masks_shared: true, ..of("train", Train, &[""], &["Images/Train"], &["GT"]) },
            Split { masks_shared: true, ..of("test", Test, &[""], &["Images/Test"], &["GT"]) },
            of("test", Test, &["TestDataset/CAMO", "CAMO", ""], &["Imgs"], &["GT"]),
        ],
        "nc4k" => vec![of("NC4K", Test, &["TestDataset/NC4K", "NC4K", ""], &["Imgs"], &["GT"])],
        "mas3k" => vec![usual("train", Train, &["train", "MAS3K/train"]), usual("test", Test, &["test", "MAS3K/test"])],
        "rmas" => vec![usual("train", Train, &["train", "RMAS/train"]), usual("test", Test, &["test", "RMAS/test"])],
        "eorssd" | "orssd" => [("train", Train), ("test", Test)]
            .into_iter()
            .flat_map(|(name, part)| {
                let pairs = |first: &[&str]| first.iter().map(|kind| format!("{name}-{kind}")).collect::<Vec<_>>();
                let turned = |first: &[&str]| first.iter().map(|kind| format!("{kind}-{name}")).collect::<Vec<_>>();
                let both = |kinds: &[&str]| [pairs(kinds), turned(kinds)].concat();
                let beside = Split {
                    images: both(&["images", "image"]),
                    masks: both(&["labels", "masks", "gt", "label", "mask"]),
                    ..usual(name, part, &["", "EORSSD", "ORSSD"])
                };
                [beside, usual(name, part, &[name])]
            })
            .collect(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_layout_that_survives_json() {
        for name in LAYOUTS {
            let layout = named(&name.to_uppercase()).unwrap();
            assert_eq!((layout.name.as_str(), layout.splits.is_empty()), (name, false));
            let text = serde_json::to_string(&layout).unwrap();
            assert_eq!(serde_json::from_str::<Layout>(&text).unwrap(), layout);
        }
        let error = named("dis6k").unwrap_err().to_string();
        assert!(error.contains("dis6k") && error.contains("dis5k"), "{error}");
        assert!(serde_json::from_str::<Split>(r#"{"name":"a","image":["im"]}"#).is_err(), "unknown keys are refused");
    }
}
