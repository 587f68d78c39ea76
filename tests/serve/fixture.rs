//! A server in this process, on models that can be watched and held.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use hrseg::hiera_encoder::HieraConfig;
use hrseg::pipeline::Pipeline;
use hrseg::seg_data::RgbImage;
use hrseg::seg_golden::GeneratedWeights;
use hrseg::seg_models::registry::{LoadOptions, ModelName, Segmenter};
use hrseg::seg_models::sam2::video::{Sam2VideoConfig, Sam2VideoModel, Sam2VideoPredictor};
use hrseg::seg_models::sam2::{Sam2Config, Sam2Version};
use hrseg::seg_models::{ImageEmbedding, Prediction, PromptableSegmenter, Prompts, Result};
use hrseg::serve::{Handle, Loaded, Options, Server, Source};
use serde_json::Value;

use crate::client::{Reply, Request};

/// A click here panics.
pub const TRAP: [f32; 2] = [13.0, 13.0];

/// What the model was asked for, and what holds it.
#[derive(Default)]
pub struct Watched {
    pub embedded: AtomicUsize,
    pub predicted: AtomicUsize,
    /// Whether answers wait.
    held: Mutex<bool>,
    freed: Condvar,
    /// How many wait.
    waiting: AtomicUsize,
}

impl Watched {
    pub fn hold(&self) {
        *self.held.lock().unwrap() = true;
    }

    pub fn free(&self) {
        *self.held.lock().unwrap() = false;
        self.freed.notify_all();
    }

    /// Waits until an answer waits.
    pub fn until_held(&self) {
        until("the model is asked", || self.waiting.load(Ordering::SeqCst) > 0);
    }

    fn pass(&self) {
        let mut held = self.held.lock().unwrap();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        while *held {
            held = self.freed.wait(held).unwrap();
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits for something that another thread does.
#[track_caller]
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Answers to every click with squares of 12, 24 and 60 pixels around it, to a box with the box.
struct Squares(Arc<Watched>);

impl PromptableSegmenter for Squares {
    fn embed(&self, image: &RgbImage) -> Result<ImageEmbedding> {
        self.0.embedded.fetch_add(1, Ordering::SeqCst);
        self.0.pass();
        let image_embed = Tensor::zeros((1, 1, 1, 1), DType::F32, &Device::Cpu)?;
        Ok(ImageEmbedding::new(image_embed, image.dimensions()))
    }

    fn predict(&self, embedding: &ImageEmbedding, prompts: &Prompts) -> Result<Prediction> {
        self.0.predicted.fetch_add(1, Ordering::SeqCst);
        self.0.pass();
        let (width, height) = embedding.original_size;
        let click = prompts.points.iter().find(|point| point.positive).map_or([0.5, 0.5], |point| [point.x, point.y]);
        assert_ne!(click, TRAP, "a click into the trap");
        let number = if prompts.multimask { 3 } else { 1 };
        let mut logits = Vec::new();
        for half in [12.0, 6.0, 30.0].into_iter().take(number) {
            let [x0, y0, x1, y1] =
                prompts.bbox.unwrap_or([click[0] - half, click[1] - half, click[0] + half, click[1] + half]);
            for y in 0..height {
                for x in 0..width {
                    let (x, y) = (x as f32 + 0.5, y as f32 + 0.5);
                    logits.push(if x0 < x && x < x1 && y0 < y && y < y1 { 5f32 } else { -5.0 });
                }
            }
        }
        let masks = Tensor::from_vec(logits, (number, height as usize, width as usize), &Device::Cpu)?;
        let iou_predictions = [0.9, 0.95, 0.5][..number].to_vec();
        Ok(Prediction { low_res_masks: masks.clone(), masks, iou_predictions })
    }
}

fn generated() -> candle_nn::VarBuilder<'static> {
    GeneratedWeights::new("").var_builder(DType::F32, &Device::Cpu)
}

fn is_net(name: ModelName) -> Segmenter {
    name.build(64, &LoadOptions::default(), generated()).unwrap()
}

/// A model of made-up weights for 256x256 pixels.
pub fn small(name: &str) -> Segmenter {
    named(name).build(256, &LoadOptions::default(), generated()).unwrap()
}

/// SAM 2.1 with a narrow trunk, for frames of 64x64 pixels.
fn video() -> Sam2VideoPredictor {
    let trunk =
        HieraConfig { embed_dim: 8, stages: vec![1, 1, 1, 1], global_att_blocks: vec![], ..HieraConfig::tiny() };
    let config = Sam2Config { image_size: 64, ..Sam2Config::new(Sam2Version::V2_1, trunk) };
    // under this salt the object is there on most frames
    let vb = GeneratedWeights::new("p1").var_builder(DType::F32, &Device::Cpu);
    Sam2VideoPredictor::new(Sam2VideoModel::new(&Sam2VideoConfig::new(config), vb).unwrap(), DType::F32, &Device::Cpu)
}

pub fn named(name: &str) -> ModelName {
    name.parse().unwrap()
}

/// `mobile-sam`, `sam+isnet`, `is-net` and `sam2.1-tiny` by name, and `sam-vit-b`, which cannot be loaded.
pub fn sources(watched: &Arc<Watched>) -> Vec<Source> {
    let watched = Arc::clone(watched);
    let image = |pipeline: Pipeline| Ok(Loaded { pipeline: Some(Arc::new(pipeline)), ..Loaded::default() });
    vec![
        Source {
            name: named("mobile-sam"),
            open: Box::new(move |_| {
                let model = Segmenter::Promptable(Box::new(Squares(watched)));
                image(Pipeline::new(named("mobile-sam"), model))
            }),
        },
        Source {
            name: named("sam+isnet"),
            open: Box::new(move |others| {
                let first = others(named("mobile-sam")).unwrap();
                let pipeline = Pipeline::new(named("sam+isnet"), is_net(named("sam+isnet")));
                image(pipeline.with_first_stage(named("mobile-sam"), first))
            }),
        },
        Source {
            name: named("is-net"),
            open: Box::new(move |_| image(Pipeline::new(named("is-net"), is_net(named("is-net"))))),
        },
        Source {
            name: named("sam2.1-tiny"),
            open: Box::new(|_| Ok(Loaded { video: Some(Arc::new(video())), ..Loaded::default() })),
        },
        Source { name: named("sam-vit-b"), open: Box::new(|_| Err("there are no weights".into())) },
    ]
}

/// A server that runs until it is dropped.
pub struct Served {
    pub address: SocketAddr,
    pub watched: Arc<Watched>,
    pub handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// With all models in memory.
    pub fn new(options: Options) -> Self {
        let watched = Arc::<Watched>::default();
        let models = sources(&watched);
        let served = Self::with(options, models, watched);
        served.ready();
        served
    }

    /// Waits until all models are in memory.
    pub fn ready(&self) {
        until("the models are loaded", || self.get("/readyz").status == 200);
    }

    pub fn with(options: Options, models: Vec<Source>, watched: Arc<Watched>) -> Self {
        let server = Server::bind(options, models).unwrap();
        let (address, handle) = (server.address(), server.handle());
        let thread = Some(std::thread::spawn(move || server.run().unwrap()));
        Self { address, watched, handle, thread }
    }

    pub fn ask(&self, method: &str, path: &str) -> Request {
        Request::new(self.address, method, path)
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Reply {
        self.ask("GET", path).send()
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: Value) -> Reply {
        self.ask("POST", path).json(&body).send()
    }

    /// The path of an image of these bytes.
    #[track_caller]
    pub fn image(&self, bytes: &[u8]) -> String {
        let reply = self.ask("POST", "/v1/images").file(bytes).send().is(201);
        let at = reply.header("location").unwrap().to_owned();
        assert_eq!(at, format!("/v1/images/{}", reply.json()["id"].as_str().unwrap()));
        at
    }

    /// A line of the figures.
    pub fn figure(&self, name: &str) -> f64 {
        let text = self.get("/metrics").is(200).text();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("hrseg_{name} ")));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits for the server's end.
    pub fn join(&mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.watched.free();
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}
