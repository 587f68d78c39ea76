//! The difference between weights and those that they were learnt from: a small file, where a training moved little.

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Fault, Result};
use crate::write::{bytes_of, write_from};
use candle_core::{DType, Device, Tensor};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// Metadata of a difference: the name of the base in the manifest.
const BASE: &str = "difference_to";
/// The digest of what is the base's.
const DIGEST: &str = "difference_base_sha256";
/// The names of what is the base's, as `prefix of the model=prefix of the base`, separated by commas.
const NAMES: &str = "difference_names";
/// How many tensors are the base's.
const COUNT: &str = "difference_unmoved";

/// What a base calls the tensors of a model: a prefix there for a prefix here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaseNames(Vec<(String, String)>);

impl BaseNames {
    /// From `encoder.=image_encoder.trunk.`, several separated by commas; without any, the names are the same.
    ///
    /// # Errors
    /// [`Error::Argument`] where a piece has no `=`.
    pub fn parse(text: &str) -> Result<Self> {
        let pieces = text.split(',').filter(|piece| !piece.is_empty());
        let pair = |piece: &str| match piece.split_once('=') {
            Some((here, there)) => Ok((here.to_owned(), there.to_owned())),
            None => Err(Error::Argument {
                what: "names",
                value: piece.to_owned(),
                expected: "expected PREFIX=PREFIX OF THE BASE".into(),
            }),
        };
        Ok(Self(pieces.map(pair).collect::<Result<_>>()?))
    }

    fn text(&self) -> String {
        self.0.iter().map(|(here, there)| format!("{here}={there}")).collect::<Vec<_>>().join(",")
    }

    /// The base's name of the model's tensor `name`; none where the base has no such part.
    fn there(&self, name: &str) -> Option<String> {
        Self::turned(name, self.0.iter().map(|(here, there)| (here, there)), self.0.is_empty())
    }

    /// The model's name of the base's tensor `name`.
    fn here(&self, name: &str) -> Option<String> {
        Self::turned(name, self.0.iter().map(|(here, there)| (there, here)), self.0.is_empty())
    }

    fn turned<'p>(name: &str, mut pairs: impl Iterator<Item = (&'p String, &'p String)>, same: bool) -> Option<String> {
        match same {
            true => Some(name.to_owned()),
            false => pairs.find_map(|(from, to)| name.strip_prefix(from.as_str()).map(|rest| format!("{to}{rest}"))),
        }
    }
}

/// What a difference holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DifferenceReport {
    /// Tensors that are the base's.
    pub unmoved: usize,
    /// Tensors of the file.
    pub moved: usize,
}

/// Writes what distinguishes `learnt` from `base`, which `base_name` is called in the manifest: the tensors that `base` has not, or not with the same values.
/// `half` stores matrices and kernels in 16 bits. The metadata of `learnt` comes along.
///
/// # Errors
/// As [`crate::write_safetensors`]; files that cannot be read; [`Error::Argument`] where nothing of `learnt` is the base's.
pub fn write_difference(
    learnt: &Checkpoint,
    (base, base_name): (&Checkpoint, &str),
    names: &BaseNames,
    half: bool,
    path: impl AsRef<Path>,
) -> Result<DifferenceReport> {
    let mut digest = Sha256::new();
    let (mut unmoved, mut moved) = (0, BTreeMap::new());
    for (name, info) in learnt.tensors().iter().filter(|(name, _)| counts(name)) {
        let tensor = learnt.tensor(name, &Device::Cpu)?;
        let there = names.there(name).filter(|there| base.get(there).is_some_and(|of| of.shape == info.shape));
        if let Some(there) = there {
            let of = Same::of(name, &base.tensor(&there, &Device::Cpu)?)?;
            if of == Same::of(name, &tensor)? {
                of.add_to(&mut digest);
                unmoved += 1;
                continue;
            }
        }
        let small = half && tensor.rank() > 1 && tensor.dtype() == DType::F32;
        let kept = if small { tensor.to_dtype(DType::F16) } else { Ok(tensor) };
        moved.insert(name.clone(), kept.map_err(|source| Error::Tensor { name: name.clone(), source })?);
    }
    if unmoved == 0 {
        return Err(Error::Argument {
            what: "weights",
            value: learnt.path().display().to_string(),
            expected: format!("none of its tensors is that of {base_name}: there is nothing to leave out"),
        });
    }
    let mut metadata = learnt.metadata().clone();
    metadata.insert(BASE.into(), base_name.into());
    metadata.insert(NAMES.into(), names.text());
    metadata.insert(COUNT.into(), unmoved.to_string());
    metadata.insert(DIGEST.into(), hex::encode(digest.finalize()));
    crate::write_safetensors(path, &moved, &metadata)?;
    Ok(DifferenceReport { unmoved, moved: moved.len() })
}

/// A batch norm's counter serves torch's training alone: bases have it, and no model here asks for it.
fn counts(name: &str) -> bool {
    !name.ends_with(".num_batches_tracked")
}

/// What the base of a difference is called in the manifest; none where `file` is whole.
pub fn base_of(file: &Checkpoint) -> Option<&str> {
    file.metadata().get(BASE).map(String::as_str)
}

/// Writes the whole weights that `difference` stands for, those of `base` as it stores them.
///
/// # Errors
/// [`Error::File`] where `difference` is none, or `base` is not what it was taken from; files that cannot be read; as [`crate::write_safetensors`].
pub fn apply_difference(difference: &Checkpoint, base: &Checkpoint, path: impl AsRef<Path>) -> Result<()> {
    let said = difference.metadata();
    let broken = |problem: &str| Fault::Malformed(problem.into()).at(difference.path());
    let said_of = |key: &str| said.get(key).ok_or_else(|| broken("it is no difference to other weights"));
    let (digest, count) = (said_of(DIGEST)?, said_of(COUNT)?);
    let names = BaseNames::parse(said_of(NAMES)?)?;
    // by the model's names: what is the base's
    let mut from_base = BTreeMap::new();
    for there in base.keys().filter(|there| counts(there)) {
        if let Some(here) = names.here(there).filter(|here| difference.get(here).is_none()) {
            from_base.insert(here, there);
        }
    }
    let of_others = || {
        let base_name = base_of(difference).unwrap_or_default();
        let problem = format!(
            "it is what was learnt from {base_name}, of which {count} tensors stayed as they were, and {} has others: expected \
             the very weights that `hrseg weights fetch {base_name}` brings",
            base.path().display()
        );
        broken(&problem)
    };
    if from_base.len().to_string() != *count {
        return Err(of_others());
    }
    let ours = [BASE, DIGEST, NAMES, COUNT];
    let mut metadata: BTreeMap<String, String> =
        said.iter().filter(|(key, _)| !ours.contains(&key.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect();
    metadata.insert("learnt_from".into(), base_of(difference).unwrap_or_default().into());
    let of_base = from_base.iter().map(|(here, there)| (here.as_str(), (base, *there)));
    let of_difference = difference.keys().map(|name| (name, (difference, name)));
    let tensors = of_base.chain(of_difference).collect();
    // looked at on the way, so that the base is read once: with the last of its tensors it is known whether they are the right ones
    let (mut found, mut left) = (Sha256::new(), from_base.len());
    write_from(path.as_ref(), &tensors, &metadata, |name, tensor| {
        if !from_base.contains_key(name) {
            return Ok(());
        }
        Same::of(name, tensor)?.add_to(&mut found);
        left -= 1;
        match left == 0 && hex::encode(found.finalize_reset()) != *digest {
            true => Err(of_others()),
            false => Ok(()),
        }
    })
}

/// A tensor by what counts for being the same: its name in the model, its shape, its values as 32-bit floats where it has floats.
#[derive(PartialEq)]
struct Same {
    name: String,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Same {
    fn of(name: &str, tensor: &Tensor) -> Result<Self> {
        let bytes = || match tensor.dtype() {
            dtype if dtype.is_float() => bytes_of(&tensor.to_dtype(DType::F32)?),
            _ => bytes_of(tensor),
        };
        let bytes = bytes().map_err(|source| Error::Tensor { name: name.to_owned(), source })?;
        Ok(Self { name: name.to_owned(), shape: tensor.dims().to_vec(), bytes })
    }

    fn add_to(&self, digest: &mut Sha256) {
        digest.update(self.name.as_bytes());
        digest.update(format!("{:?}", self.shape));
        digest.update(&self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &Path, name: &str, tensors: &[(&str, &[f32])]) -> Checkpoint {
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap().reshape((1, ())).unwrap();
        let tensors = tensors.iter().map(|(name, values)| (name.to_string(), tensor(values))).collect();
        let metadata = BTreeMap::from([("image_size".to_owned(), "512".to_owned())]);
        let path = dir.join(name);
        crate::write_safetensors(&path, &tensors, &metadata).unwrap();
        Checkpoint::open(path).unwrap()
    }

    #[test]
    fn a_difference_and_its_base_are_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        let base = file(dir.path(), "base", &[("trunk.a", &[1., 2.]), ("trunk.b", &[3.]), ("head.w", &[9.])]);
        let learnt = file(dir.path(), "learnt", &[("encoder.a", &[1., 2.]), ("encoder.b", &[3.5]), ("new.w", &[0.25])]);
        let names = BaseNames::parse("encoder.=trunk.").unwrap();
        let small = dir.path().join("small");
        let report = write_difference(&learnt, (&base, "the-base"), &names, true, &small).unwrap();
        assert_eq!(report, DifferenceReport { unmoved: 1, moved: 2 });
        let small = Checkpoint::open(small).unwrap();
        assert_eq!(base_of(&small), Some("the-base"));
        assert_eq!(small.keys().collect::<Vec<_>>(), ["encoder.b", "new.w"]);
        let whole = dir.path().join("whole");
        apply_difference(&small, &base, &whole).unwrap();
        let whole = Checkpoint::open(whole).unwrap();
        assert_eq!(whole.keys().collect::<Vec<_>>(), ["encoder.a", "encoder.b", "new.w"]);
        for name in learnt.keys() {
            let values = |file: &Checkpoint| {
                file.tensor(name, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap().to_vec2::<f32>().unwrap()
            };
            assert_eq!(values(&whole), values(&learnt), "{name}");
        }
        assert_eq!(whole.metadata()["image_size"], "512");
        assert_eq!((base_of(&whole), &*whole.metadata()["learnt_from"]), (None, "the-base"));
        // another base
        let other = file(dir.path(), "other", &[("trunk.a", &[1., 2.5]), ("trunk.b", &[3.])]);
        let error = apply_difference(&small, &other, dir.path().join("wrong")).unwrap_err().to_string();
        assert!(error.contains("the-base") && !dir.path().join("wrong").exists(), "{error}");
        let error = apply_difference(&learnt, &base, dir.path().join("wrong")).unwrap_err().to_string();
        assert!(error.contains("no difference"), "{error}");
        let error = write_difference(&learnt, (&other, "x"), &BaseNames::default(), true, dir.path().join("wrong"));
        assert!(error.unwrap_err().to_string().contains("nothing to leave out"));
    }
}
