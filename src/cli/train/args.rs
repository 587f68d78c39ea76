//! Arguments of `hrseg train`.

use std::path::PathBuf;

use clap::Args;

const EXAMPLES: &str = "Examples:
  hrseg train sam2-unet-small --data procedural --out runs/first
  hrseg train recipes/dis-sam.toml --data my_pictures --val held_out --out runs/mine
  hrseg train own-photos --data my_pictures --hold-out 0.1 --out runs/mine
  hrseg train is-net --data my_pictures --out runs/mine --set data.batch=2 --set schedule.lr=1e-4
  hrseg train is-net --data my_pictures --out runs/mine --resume
  hrseg train mgd-sam2-dis --data DIS5K/DIS-TR --dry-run";

const DETAILS: &str = "\
A recipe says what is trained and how: a TOML file, or the name of one that comes with the command (list them by `hrseg train list`). \
The data is a folder of images and masks (`im` and `gt`, or any two folders whose names pair), or pictures that are made on the fly.

Everything is written to --out: recipe.toml, log.jsonl, tensorboard/, curve.png, pictures/, checkpoints/, and best.safetensors and \
last.safetensors, which `hrseg segment --weights` takes as they are. Ctrl-C finishes the step and saves it; --resume goes on, to the same bits as \
without the break. Before the first step it is proven that gradients reach every weight that is to be trained, and no other.";

/// Arguments of `hrseg train`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES, after_long_help = format!("{DETAILS}\n\n{EXAMPLES}"))]
pub struct TrainArgs {
    /// A recipe: a TOML file, or a name that `hrseg train list` prints
    #[arg(value_name = "RECIPE")]
    pub recipe: String,

    /// What to learn from: a folder of images and masks, or `procedural` with or without `:SPEC.toml`
    #[arg(long, value_name = "DIR|procedural[:SPEC.toml]", default_value = "procedural")]
    pub data: String,

    /// How the folders of --data and --val are laid out: dis5k, duts, …, with sentences ref-youtube-vos, mevis, refcoco, …
    /// (docs/training.md); without it pictures and masks are found by looking
    #[arg(long, value_name = "NAME")]
    pub layout: Option<String>,

    /// Where everything of the run is written
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// What to measure on; procedural data has held-out pictures of its own
    #[arg(long, value_name = "DIR|procedural[:SPEC.toml]")]
    pub val: Option<String>,

    /// Keep this part of the pictures of --data out of the training and measure on them: 0.1 is a tenth, drawn by the recipe's seed
    #[arg(long, value_name = "PART", conflicts_with = "val", allow_negative_numbers = true)]
    pub hold_out: Option<f64>,

    /// Change a value of the recipe: data.batch=4
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Keep what a frozen encoder makes of each picture (in OUT/embeddings, or another folder), so that it is computed once
    #[arg(long, value_name = "DIR", num_args = 0..=1)]
    pub cache_embeddings: Option<Option<PathBuf>>,

    /// How large that folder may grow, in GiB
    #[arg(long, value_name = "GIB", default_value_t = 16., requires = "cache_embeddings")]
    pub cache_limit: f64,

    /// The most memory that the run may take; by default what is free. A recipe that asks for more is refused before it begins
    #[arg(long, value_name = "GIB", allow_negative_numbers = true)]
    pub memory: Option<f64>,

    /// Go on with the run in --out from its newest whole checkpoint
    #[arg(long)]
    pub resume: bool,

    /// Say what the run would be: data, weights that move, schedule, time and memory. Needs no weights
    #[arg(long, conflicts_with = "resume")]
    pub dry_run: bool,
}
