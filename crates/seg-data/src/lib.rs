//! Images for segmentation: safe decoding with EXIF, exact resizing, RLE, overlays, cut-outs
