//! Embeddings on disk: found to the bit, damaged ones made again, never more than allowed.

use candle_core::{Device, Tensor};
use seg_train::embeddings::{Counts, EmbeddingCache};
use seg_train::{Result, TrainError};
use std::path::{Path, PathBuf};

fn cache(folder: &Path, limit: u64) -> EmbeddingCache {
    EmbeddingCache::of_encoder(folder, limit, [7; 32]).unwrap()
}

/// The files below the folders of a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let list = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    list(folder).iter().flat_map(|folder| list(folder)).collect()
}

fn picture(first: f32) -> Tensor {
    Tensor::new(&[[[[first, 2.], [3., 4.]]]], &Device::Cpu).unwrap()
}

fn made() -> Result<Vec<Tensor>> {
    let numbers = Tensor::new(&[0.1f32, -0., f32::MIN_POSITIVE, 1e30], &Device::Cpu)?;
    Ok(vec![numbers.reshape((1, 2, 2))?, (numbers * 3.)?])
}

fn never() -> Result<Vec<Tensor>> {
    Err(TrainError::Count { what: "calls of the encoder", got: 1, expected: 0 })
}

fn bits(tensors: &[Tensor]) -> Vec<(Vec<usize>, Vec<u32>)> {
    let numbers = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    tensors.iter().map(|t| (t.dims().to_vec(), numbers(t).into_iter().map(f32::to_bits).collect())).collect()
}

#[test]
fn what_was_made_is_found_to_the_bit() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let first = cache(dir.path(), 1 << 20);
    let expected = bits(&first.get(&picture(1.), made)?);
    assert_eq!(bits(&first.get(&picture(1.), never)?), expected);
    // in another run, too; another picture and another encoder have others
    let second = cache(dir.path(), 1 << 20);
    assert_eq!(bits(&second.get(&picture(1.), never)?), expected);
    assert!(second.get(&picture(1.5), never).is_err());
    let other = EmbeddingCache::of_encoder(dir.path(), 1 << 20, [8; 32])?;
    assert!(other.get(&picture(1.), never).is_err());
    assert_eq!(first.counts(), Counts { found: 1, made: 1 });
    assert!(first.notes().is_empty() && second.notes().is_empty());
    Ok(())
}

#[test]
fn damaged_files_are_made_again_and_told() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path(), 1 << 20);
    let expected = bits(&cache.get(&picture(1.), made)?);
    let path = files(dir.path()).remove(0);
    let whole = std::fs::read(&path).unwrap();
    let line = whole.iter().position(|b| *b == b'\n').unwrap();
    let mut flipped = whole.clone();
    flipped[line + 3] ^= 1;
    let lying = String::from_utf8_lossy(&whole[..line]).replace("[1,2,2]", "[4000000000,4000000000]");
    for (bytes, what) in [
        (flipped, "checksum"),
        (whole[..whole.len() - 1].to_vec(), "length"),
        (Vec::new(), "first line"),
        (vec![b'x'; 100_000], "first line"),
        ([lying.as_bytes(), b"\n"].concat(), "length"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(bits(&cache.get(&picture(1.), made)?), expected);
        let notes = cache.notes();
        assert!(notes.len() == 1 && notes[0].contains(what) && notes[0].contains("made again"), "{notes:?}");
        assert_eq!(bits(&cache.get(&picture(1.), never)?), expected);
    }
    Ok(())
}

#[test]
fn there_is_an_end_to_it() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path(), 150);
    cache.get(&picture(1.), made)?;
    cache.get(&picture(2.), made)?;
    cache.get(&picture(3.), made)?;
    let notes = cache.notes();
    assert!(notes.len() == 1 && notes[0].contains("as large as it may be"), "{notes:?}");
    let bytes: u64 = files(dir.path()).iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!(bytes <= 150 && files(dir.path()).len() == 1, "{bytes}");
    cache.get(&picture(1.), never)?;
    assert_eq!(cache.counts(), Counts { found: 1, made: 3 });
    Ok(())
}
