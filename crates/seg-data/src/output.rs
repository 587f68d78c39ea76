//! Files that appear whole or not at all, and PNG bytes.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ImageBuffer, ImageEncoder, PixelWithColorType};

use crate::decode::ColourProfile;
use crate::error::{DataError, Result};

/// What to do when the file exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overwrite {
    /// Refuse with [`DataError::AlreadyExists`]; the old file stays as it is.
    #[default]
    Refuse,
    /// Replace it in one step: a reader sees the old file or the new one, never a part.
    Replace,
}

/// Writes `bytes` to `path` atomically. See [`write_with`].
///
/// # Errors
/// As [`write_with`].
pub fn write(path: impl AsRef<Path>, bytes: &[u8], overwrite: Overwrite) -> Result<()> {
    write_with(path, overwrite, |w| w.write_all(bytes))
}

/// Lets `fill` write a temporary file beside `path`, syncs it to the disk, and renames it to `path`.
///
/// When anything fails, also in the middle, the temporary file is removed and `path` is as it was.
///
/// # Errors
/// [`DataError::AlreadyExists`], [`DataError::DiskFull`], or the system's reason; each names the path.
pub fn write_with(
    path: impl AsRef<Path>,
    overwrite: Overwrite,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let path = path.as_ref();
    let failed = |action| move |e| DataError::io(path, action, e);
    if overwrite == Overwrite::Refuse && path.symlink_metadata().is_ok() {
        return Err(DataError::AlreadyExists { path: path.to_owned() });
    }
    if path.is_dir() {
        return Err(DataError::size("the output", format!("{}, which is a folder", path.display()), "a file name"));
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".part");
    #[cfg(unix)]
    {
        // As an ordinary new file: the user's umask decides. (The default for temporary files is 0600.)
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut temporary = builder.tempfile_in(folder).map_err(failed("create a file in its folder"))?;
    let mut buffered = BufWriter::with_capacity(1 << 16, temporary.as_file_mut());
    fill(&mut buffered).map_err(failed("write it"))?;
    buffered.flush().map_err(failed("write it"))?;
    drop(buffered);
    temporary.as_file().sync_all().map_err(failed("write it"))?;
    let kept = match overwrite {
        Overwrite::Replace => temporary.persist(path),
        Overwrite::Refuse => temporary.persist_noclobber(path),
    };
    kept.map_err(|e| match e.error.kind() {
        io::ErrorKind::AlreadyExists => DataError::AlreadyExists { path: path.to_owned() },
        _ => DataError::io(path, "give the finished file its name", e.error),
    })?;
    sync_folder(folder);
    Ok(())
}

/// Makes the new name itself survive a power cut. Not every file system can; the file is written in any case.
fn sync_folder(folder: &Path) {
    if cfg!(unix) {
        let _ = File::open(folder).and_then(|f| f.sync_all());
    }
}

/// Creates `folder` and its parents if they are missing.
///
/// # Errors
/// When it cannot be created, or the name belongs to a file.
pub fn create_folder(folder: impl AsRef<Path>) -> Result<()> {
    let folder = folder.as_ref();
    std::fs::create_dir_all(folder).map_err(|e| DataError::io(folder, "create this folder", e))
}

/// PNG bytes of an 8-bit image: grey (`GrayImage`), RGB or RGBA. Fast compression with adaptive filters, which on
/// photos is within a few per cent of the smallest and many times quicker.
///
/// # Errors
/// When the image has a side of 0.
pub fn png<P>(image: &ImageBuffer<P, Vec<u8>>) -> Result<Vec<u8>>
where
    P: PixelWithColorType<Subpixel = u8>,
{
    png_with_profile(image, None)
}

/// [`png()`] with the colour profile that the pixels are in.
///
/// # Errors
/// As [`png()`].
pub fn png_with_profile<P>(image: &ImageBuffer<P, Vec<u8>>, profile: Option<&ColourProfile>) -> Result<Vec<u8>>
where
    P: PixelWithColorType<Subpixel = u8>,
{
    let (w, h) = image.dimensions();
    let fail = |reason: String| DataError::Encode { what: format!("a PNG of {w}x{h} pixels"), reason };
    if w == 0 || h == 0 {
        return Err(fail("it has no pixels".into()));
    }
    let mut bytes = Vec::new();
    let mut encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive);
    if let Some(profile) = profile {
        encoder.set_icc_profile(profile.icc().to_vec()).map_err(|e| fail(e.to_string()))?;
    }
    encoder
        .write_image(image.as_raw(), w, h, P::COLOR_TYPE)
        .map_err(|e| fail(crate::error::one_line(&e.to_string())))?;
    Ok(bytes)
}

/// [`png()`] and [`write()`] in one.
///
/// # Errors
/// Those of the two.
pub fn write_png<P>(path: impl AsRef<Path>, image: &ImageBuffer<P, Vec<u8>>, overwrite: Overwrite) -> Result<()>
where
    P: PixelWithColorType<Subpixel = u8>,
{
    write(path, &png(image)?, overwrite)
}
