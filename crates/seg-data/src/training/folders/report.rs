//! What a check of paired folders found.

use std::collections::BTreeMap;

use serde::Serialize;

/// What a training would see of two folders. Names are stems.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Name of the part of the data set.
    pub split: String,
    /// The folder of pictures.
    pub images: String,
    /// The folder of masks.
    pub masks: String,
    /// Pairs of a picture and a mask.
    pub pairs: usize,
    /// Of these, those that a training can use.
    pub usable: usize,
    /// Pictures without a mask.
    pub lone_images: Vec<String>,
    /// Masks without a picture.
    pub lone_masks: Vec<String>,
    /// Pairs without a coarse mask, where the data set has such.
    pub without_coarse: Vec<String>,
    /// Files of one folder with the same stem; none is used.
    pub twice: Vec<Vec<String>>,
    /// Stems of a picture and a mask that differ in upper and lower case alone.
    pub differ_in_case: Vec<(String, String)>,
    /// Files that are no images, by ending, in words.
    pub left_out: Vec<String>,
    /// Files that cannot be read.
    pub broken: Vec<Broken>,
    /// Pairs of which the mask has not the picture's size.
    pub sizes_differ: Vec<SizesDiffer>,
    /// Masks with nothing inside.
    pub empty: Vec<String>,
    /// Masks with everything inside.
    pub full: Vec<String>,
    /// Pairs of which picture and mask are the same, pixel by pixel.
    pub same_pairs: Vec<Vec<String>>,
    /// The same picture with different masks.
    pub same_images: Vec<Vec<String>>,
    /// How masks were understood, where not as levels from 0 to 255, and which.
    pub meanings: BTreeMap<String, Vec<String>>,
    /// Masks that have labels and 255 beside them: only 255 counts as inside.
    pub void: Vec<String>,
    /// Masks of which more than a twentieth is neither inside (255) nor outside (0).
    pub soft: Vec<String>,
    /// Pictures that are turned for their orientation, while their masks lie on them as they are shown.
    pub turned: Vec<String>,
    /// Pictures that are turned, and their masks with them.
    pub turned_both: Vec<String>,
    /// Width and height of the picture with the fewest pixels, of the median one, and of that with the most.
    pub sizes: Option<[[u32; 2]; 3]>,
    /// How many pixels of all masks have each level, 0 to 255.
    pub levels: Vec<u64>,
    /// Part of a mask that is inside (128 and more), 0 to 1: least, lower quartile, median, upper quartile, most.
    pub inside: Option<[f64; 5]>,
}

/// A file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The stem of its pair.
    pub stem: String,
    /// What is wrong, with the file's name.
    pub reason: String,
}

/// A pair of which the mask has not the picture's size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SizesDiffer {
    /// The stem of the pair.
    pub stem: String,
    /// Width and height of the picture, as it is shown.
    pub image: [u32; 2],
    /// Width and height of the mask.
    pub mask: [u32; 2],
}

impl Report {
    /// What must be put right, a line each; none where all is well.
    pub fn problems(&self) -> Vec<String> {
        let mut out: Vec<String> = self.broken.iter().take(LINES).map(|broken| broken.reason.clone()).collect();
        out.extend(self.broken.len().checked_sub(LINES + 1).map(|n| format!("{} more files cannot be read", n + 1)));
        let mut say = |names: &[String], one: &str, many: &str| {
            if !names.is_empty() {
                out.push(format!("{} {}: {}", names.len(), if names.len() == 1 { one } else { many }, list(names)));
            }
        };
        say(&self.lone_images, "picture without a mask", "pictures without a mask");
        say(&self.lone_masks, "mask without a picture", "masks without a picture");
        say(&self.without_coarse, "pair without its coarse mask", "pairs without their coarse masks");
        let twice: Vec<String> = self.twice.iter().map(|files| files.join(" and ")).collect();
        say(
            &twice,
            "stem is there twice, none of its files is used",
            "stems are there twice, none of their files is used",
        );
        let size = |[w, h]: [u32; 2]| format!("{w}x{h}");
        let sizes = self.sizes_differ.iter();
        let sizes: Vec<String> =
            sizes.map(|d| format!("{} (picture {}, mask {})", d.stem, size(d.image), size(d.mask))).collect();
        say(&sizes, "mask has not its picture's size", "masks have not their pictures' size");
        say(&self.empty, "mask has nothing inside", "masks have nothing inside");
        say(&self.full, "mask has everything inside", "masks have everything inside");
        let [pairs, images] = [&self.same_pairs, &self.same_images]
            .map(|groups| groups.iter().map(|names| names.join(" = ")).collect::<Vec<_>>());
        say(&pairs, "pair is there several times", "pairs are there several times");
        say(&images, "picture is there with different masks", "pictures are there with different masks");
        say(
            &self.void,
            "mask has labels and 255 beside them: only 255 counts as inside",
            "masks have labels and 255 beside them: only 255 counts as inside",
        );
        out
    }

    /// What is worth knowing, a line each.
    pub fn notes(&self) -> Vec<String> {
        let mut out = self.left_out.clone();
        out.extend(self.differ_in_case.first().map(|(image, mask)| {
            let more = self.differ_in_case.len() - 1;
            format!("no partners, for their names differ in upper and lower case: {image} and {mask}, {more} more")
        }));
        let count = |n: usize| if n == 1 { "1 mask has".to_owned() } else { format!("{n} masks have") };
        for (meaning, stems) in &self.meanings {
            out.push(format!("{} {meaning}: {}", count(stems.len()), list(stems)));
        }
        let mut say = |names: &[String], what: &str| {
            if !names.is_empty() {
                out.push(format!("{} {what}: {}", names.len(), list(names)));
            }
        };
        say(&self.soft, "of the masks are soft: more than a twentieth of their pixels is neither 0 nor 255");
        say(&self.turned_both, "of the pictures are turned for their orientation, and their masks with them");
        say(
            &self.turned,
            "of the pictures are turned for their orientation; the masks are taken to lie on them as they are shown",
        );
        out
    }
}

/// Files that cannot be read have a line each, up to so many.
const LINES: usize = 20;

/// The first few of a list.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let first = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len() {
        0..=SHOWN => first,
        n => format!("{first}, {} more", n - SHOWN),
    }
}
