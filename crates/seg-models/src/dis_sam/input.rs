//! The five channels of DIS-SAM's second stage: RGB, coarse mask, box (`IS_Net/data_loader.py`, `demo.ipynb`).

use candle_core::{Device, Tensor};
use seg_data::geometry::extent;
use seg_data::{GrayImage, RgbImage};

use crate::error::{Error, Result};
use crate::is_net::transforms::{centred, grey_levels, rgb_levels, squash, whole_levels};

/// The box channel of a mask of bytes: 255 from the first to the last row and column that are not 0, the last row and column
/// excluded; there the mask itself counts where it is 255.
///
/// # Errors
/// When the mask is empty, or its length is not `width * height`.
pub fn box_channel(mask: &[u8], width: u32, height: u32) -> Result<Vec<u8>> {
    let [x0, y0, x1, y1] = extent(mask, width, height)?.ok_or(Error::EmptyMask { what: "mask" })?;
    let mut channel: Vec<u8> = mask.iter().map(|&v| if v == 255 { 255 } else { 0 }).collect();
    for y in y0..y1 - 1 {
        let row = (y * width) as usize;
        channel[row + x0 as usize..row + x1 as usize - 1].fill(255);
    }
    Ok(channel)
}

/// The input as training and evaluation make it, `[1, 5, S, S]`, and the label, `[1, 1, S, S]` in 0..1: every channel
/// squashed and cut to whole levels; the box is that of the squashed ground truth `truth`.
///
/// # Errors
/// When an image is empty, or nothing of the ground truth is left after squashing.
pub fn training_input(
    image: &RgbImage,
    mask: &GrayImage,
    truth: &GrayImage,
    size: usize,
    device: &Device,
) -> Result<(Tensor, Tensor)> {
    let rgb = centred(&whole_levels(&squash(&rgb_levels(image, device)?, size)?)?)?;
    let mask = whole_levels(&squash(&grey_levels(mask, device)?, size)?)?;
    let truth = whole_levels(&squash(&grey_levels(truth, device)?, size)?)?;
    let levels: Vec<u8> = truth.flatten_all()?.to_vec1::<f32>()?.into_iter().map(|v| v as u8).collect();
    let channel = box_channel(&levels, size as u32, size as u32)?;
    let channel = Tensor::from_vec(channel, (1, 1, size, size), device)?.to_dtype(rgb.dtype())?;
    let input = Tensor::cat(&[&rgb, &(mask / 255.)?, &(channel / 255.)?], 1)?;
    Ok((input, (truth / 255.)?))
}

/// The input as the authors' demonstration makes it, `[1, 5, S, S]`: squashed without cutting to whole levels; the box, that
/// of the coarse mask at the image's size (any level but 0 is inside), is made 0 or 1 again afterwards.
///
/// # Errors
/// When the image is empty, the mask is empty, or its size is not the image's.
pub fn demo_input(image: &RgbImage, mask: &GrayImage, size: usize, device: &Device) -> Result<Tensor> {
    // there the mask is 0 or 1, so that nothing of it counts in the box's last row and column
    let inside: Vec<u8> = mask.as_raw().iter().map(|&v| u8::from(v != 0)).collect();
    boxed_input(image, mask, &inside, size, device)
}

/// The same with the `bbox` that the user has drawn, left, top, right, bottom in pixels within the image, in place of the coarse mask's.
///
/// # Errors
/// When the image is empty, the box is, or the mask's size is not the image's.
pub(super) fn input_within(
    image: &RgbImage,
    mask: &GrayImage,
    bbox: [f32; 4],
    size: usize,
    device: &Device,
) -> Result<Tensor> {
    let (width, height) = image.dimensions();
    let [x0, y0, x1, y1] = bbox;
    let pixels = |from: f32, to: f32, size: u32| {
        (from.floor() as usize).min(size as usize)..(to.ceil() as usize).min(size as usize)
    };
    let columns = pixels(x0, x1, width);
    let mut inside = vec![0u8; width as usize * height as usize];
    for row in inside.chunks_exact_mut((width as usize).max(1)).take(y1.ceil() as usize).skip(y0.floor() as usize) {
        if let Some(row) = row.get_mut(columns.clone()) {
            row.fill(1);
        }
    }
    boxed_input(image, mask, &inside, size, device)
}

/// The input with the box of what is not 0 in `inside`.
fn boxed_input(image: &RgbImage, mask: &GrayImage, inside: &[u8], size: usize, device: &Device) -> Result<Tensor> {
    if mask.dimensions() != image.dimensions() {
        return Err(Error::MaskSize { mask: mask.dimensions(), image: image.dimensions() });
    }
    let (width, height) = image.dimensions();
    let rgb = centred(&squash(&rgb_levels(image, device)?, size)?)?;
    let channel = box_channel(inside, width, height)?;
    let channel = GrayImage::from_raw(width, height, channel).ok_or(Error::EmptyImage { width, height })?;
    let channel = squash(&grey_levels(&channel, device)?, size)?.gt(127.)?.to_dtype(rgb.dtype())?;
    let mask = (squash(&grey_levels(mask, device)?, size)? / 255.)?;
    Ok(Tensor::cat(&[&rgb, &mask, &channel], 1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_row_and_column_of_a_box_are_the_masks() {
        #[rustfmt::skip]
        let mask = [
            0,   0,   0, 0,
            0, 255,   0, 0,
            0,   0, 100, 0,
            0, 255,   0, 9,
        ];
        #[rustfmt::skip]
        let expected = [
            0,   0,   0, 0,
            0, 255, 255, 0,
            0, 255, 255, 0,
            0, 255,   0, 0,
        ];
        assert_eq!(box_channel(&mask, 4, 4).unwrap(), expected);
        assert_eq!(box_channel(&[0, 0, 255, 0], 2, 2).unwrap(), [0, 0, 255, 0]);
        let text = box_channel(&[0; 4], 2, 2).unwrap_err().to_string();
        assert!(text.contains("empty"), "{text}");
    }

    #[test]
    fn the_users_box_counts_in_place_of_the_masks() {
        let image = RgbImage::new(8, 8);
        let mut mask = GrayImage::new(8, 8);
        mask.put_pixel(7, 6, image::Luma([255]));
        let channel = |bbox| {
            let input = input_within(&image, &mask, bbox, 8, &Device::Cpu)?;
            let rows = input.get(0)?.get(4)?.to_dtype(candle_core::DType::F32)?.to_vec2::<f32>()?;
            Ok::<_, Error>(rows.into_iter().map(|row| row.iter().sum::<f32>()).collect::<Vec<f32>>())
        };
        // columns 1 to 4 and rows 0 to 2, of which the last of each does not count
        assert_eq!(channel([1.2, 0., 4.7, 3.]).unwrap(), [3., 3., 0., 0., 0., 0., 0., 0.]);
        for empty in [[2., 2., 2., 2.], [8., 0., 9., 3.], [4., 3., 2., 1.]] {
            assert!(channel(empty).is_err(), "{empty:?}");
        }
    }
}
