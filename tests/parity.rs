//! The golden cases: every stored output of the official implementations, within the stated tolerance.
//!
//! One test a kind, so that only one full-size model is in memory at a time for each kind.

use candle_core::Device;
use hrseg::verify::{Status, run_dir};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Full-size models take gigabytes: cases of different kinds must not run side by side.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Run the cases whose name contains `filter`, which must be `expected` in number, and require that all pass.
fn all_pass(folder: &str, filter: &str, expected: usize) {
    let _running = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder);
    let mut run = 0;
    let mut failed = Vec::new();
    for report in run_dir(&dir, Some(filter), &Device::Cpu).expect("the golden cases are there") {
        println!("{}", report.line());
        run += 1;
        if report.status != Status::Pass {
            let outputs: Vec<String> = report.failures.iter().map(|f| f.describe()).collect();
            failed.push(format!("{}\n    {}", report.line(), outputs.join("\n    ")));
        }
    }
    assert!(failed.is_empty(), "{} of {run} cases failed:\n{}", failed.len(), failed.join("\n"));
    assert_eq!(run, expected, "cases in {} that match {filter:?}", dir.display());
}

#[test]
fn sam1_inputs() {
    all_pass("sam", "sam1_inputs", 1);
}

#[test]
fn sam1_decoder() {
    all_pass("sam", "sam1_decoder", 1);
}

#[test]
fn sam2_interp_unit() {
    all_pass("sam2", "sam2_interp_unit", 1);
}

#[test]
fn sam2_enc() {
    all_pass("sam2", "sam2_enc", 6);
}

#[test]
fn sam1_prepost() {
    all_pass("sam", "sam1_prepost", 1);
}

#[test]
fn sam1_toy() {
    all_pass("sam", "sam1_toy", 1);
}

#[test]
fn sam1_vit() {
    all_pass("sam", "sam1_vit", 3);
}

#[test]
fn sam1_predict() {
    all_pass("sam", "sam1_predict", 1);
}

#[test]
fn sam2_img() {
    all_pass("sam2", "sam2_img", 5);
}

#[test]
fn sam2_mem_unit() {
    all_pass("sam2", "sam2_mem_unit", 1);
}

#[test]
fn sam2_video() {
    all_pass("sam2", "sam2_video", 7);
}

#[test]
fn mobilesam() {
    all_pass("mobile-sam", "mobilesam", 2);
}

#[test]
fn isnet() {
    all_pass("is-net", "isnet", 4);
}

#[test]
fn dissam_nets() {
    all_pass("dis-sam", "dissam_small", 1);
    all_pass("dis-sam", "dissam_1024", 1);
}

#[test]
fn dissam_pipeline() {
    all_pass("dis-sam", "dissam_pipeline", 1);
}

#[test]
fn dissam_train() {
    all_pass("dis-sam", "dissam_train", 2);
}

#[test]
fn pisam_deform() {
    all_pass("pi-sam", "pisam_deform", 1);
}

#[test]
fn pisam_toy() {
    all_pass("pi-sam", "pisam_toy", 1);
}

#[test]
fn pisam_vit() {
    all_pass("pi-sam", "pisam_vit", 1);
}

#[test]
fn pisam_clicksim() {
    all_pass("pi-sam", "pisam_clicksim", 1);
}

#[test]
fn pisam_losses() {
    all_pass("pi-sam", "pisam_losses", 1);
}

#[test]
fn pisam_train_toy() {
    all_pass("pi-sam", "pisam_train_toy", 1);
}

#[test]
fn pisam_rgb_embed_seed() {
    all_pass("pi-sam", "pisam_rgb_embed_seed", 1);
}

#[test]
fn pisam_metrics() {
    all_pass("pi-sam", "pisam_metrics", 1);
}

#[test]
fn mgd_metrics() {
    all_pass("mgd-sam2", "mgd_metrics", 1);
}

#[test]
fn unet() {
    all_pass("sam2-unet", "unet", 4);
}

#[test]
fn unext() {
    all_pass("sam2-unext", "unext", 4);
}

#[test]
fn mgd_full() {
    all_pass("mgd-sam2", "mgd_b+_1024", 2);
}

#[test]
fn mgd_toy() {
    all_pass("mgd-sam2", "mgd_toy_128", 1);
    all_pass("mgd-sam2", "mgd_toy_b_256", 1);
    all_pass("mgd-sam2", "mgd_toy_tta_256", 1);
}

#[test]
fn mgd_train() {
    all_pass("mgd-sam2", "mgd_toy_train", 1);
}

#[test]
fn beit3() {
    all_pass("beit3", "beit3", 3);
}

#[test]
fn mpg_toy() {
    all_pass("mpg-sam2", "mpg_toy_video", 1);
    all_pass("mpg-sam2", "mpg_toy_single", 1);
    all_pass("mpg-sam2", "mpg_toy_absent", 1);
    all_pass("mpg-sam2", "mpg_toy_long", 1);
    all_pass("mpg-sam2", "mpg_toy_image", 1);
}

#[test]
fn mpg_tiny() {
    all_pass("mpg-sam2", "mpg_tiny", 2);
}

#[test]
fn mpg_large() {
    all_pass("mpg-sam2", "mpg_large", 1);
}

#[test]
fn mpg_preproc() {
    all_pass("mpg-sam2", "mpg_preproc", 1);
}

#[test]
fn mpg_spm_toy() {
    all_pass("mpg-sam2", "mpg_spm_toy", 1);
}

#[test]
fn mpg_losses() {
    all_pass("mpg-sam2", "mpg_losses", 1);
}

#[test]
fn mpg_jf() {
    all_pass("mpg-sam2", "mpg_jf", 1);
}

#[test]
fn sam2_train_loss() {
    all_pass("sam2", "sam2_train_loss", 1);
}

#[test]
fn mpg_train() {
    all_pass("mpg-sam2", "mpg_toy_train", 2);
}
