//! `sam+isnet`: the original IS-Net, which takes no prompt, in place of DIS-SAM's second stage, and what to do where the two stages
//! do not show the same object.

use seg_data::RgbImage;

use super::agreement::{iou, share};
use super::clicks::at_clicks;
use super::sight::{Sight, Surroundings, grown};
use super::two_stage::{CoarseMask, Refinement};
use super::verdict::{ALONE, Chosen, SAME, choose, settle};
use crate::error::Result;
use crate::is_net::IsNetPredictor;
use crate::promptable::{ImageEmbedding, Point, PromptableSegmenter, Prompts};

/// The second stage, and where it looks.
#[derive(Clone, Debug)]
pub(super) struct StandIn {
    net: IsNetPredictor,
    surroundings: Surroundings,
}

impl StandIn {
    pub fn new(net: IsNetPredictor, surroundings: Surroundings) -> Self {
        Self { net, surroundings }
    }

    fn look(&self, image: &RgbImage, bbox: [u32; 4]) -> Result<Sight> {
        Sight::new(&self.net, image, self.surroundings.window(bbox, image.dimensions()))
    }

    /// Both stages: the candidate that IS-Net sees, too.
    pub fn predict(
        &self,
        model: &dyn PromptableSegmenter,
        embedding: &ImageEmbedding,
        image: &RgbImage,
        prompts: &Prompts,
    ) -> Result<Refinement> {
        let (prompts, _) = prompts.clamped(image.width(), image.height())?;
        let prompts = prompts.as_ref();
        let candidates = CoarseMask::candidates(model, embedding, prompts)?;
        match prompts.bbox {
            Some(bbox) => self.in_box(image, &prompts.points, candidates, pixels(bbox, image.dimensions())),
            None => {
                let look = |bbox| self.look(image, bbox);
                let ask_for = |[x0, y0, x1, y1]: [u32; 4], points: &[Point]| {
                    let bbox = Some([x0 as f32, y0 as f32, x1 as f32, y1 as f32]);
                    CoarseMask::candidates(
                        model,
                        embedding,
                        &Prompts { bbox, points: points.to_vec(), ..prompts.clone() },
                    )
                };
                at_clicks(&self.surroundings, image.dimensions(), &prompts.points, candidates, look, ask_for)
            }
        }
    }

    /// A coarse mask without others to choose from.
    pub fn refine(&self, image: &RgbImage, points: &[Point], coarse: CoarseMask) -> Result<Refinement> {
        let sight = self.look(image, coarse.bbox)?;
        let agreement = iou(&sight.part(&coarse.mask), &sight.seen);
        settle(&self.surroundings, points, Chosen { coarse, agreement, passed_over: None }, &sight, None)
    }

    /// A box tells where to look: of the candidates the one that agrees best with what IS-Net sees in it.
    fn in_box(
        &self,
        image: &RgbImage,
        points: &[Point],
        candidates: Vec<CoarseMask>,
        bbox: [u32; 4],
    ) -> Result<Refinement> {
        let room = grown(bbox, self.surroundings.reach(bbox) as u32, image.dimensions());
        let near = self.look(image, bbox)?;
        let sight = match near.is_small() {
            true => self.of_small(image, near, room)?,
            false => near,
        };
        let sight = sight.within(room);
        let chosen = choose(candidates, |c| Ok(iou(&sight.part(&c.mask), &sight.seen)))?;
        settle(&self.surroundings, points, chosen, &sight, Some(bbox))
    }
}

impl StandIn {
    /// A window of few pixels is enlarged so far that its edges blur: where the whole image shows the same object, and hardly anything beyond the
    /// box, it is seen there.
    fn of_small(&self, image: &RgbImage, near: Sight, room: [u32; 4]) -> Result<Sight> {
        let scene = self.look(image, [0, 0, image.width(), image.height()])?;
        let in_box = scene.everything.clone().within(room);
        let alone = share(&scene.everything, &in_box) >= ALONE;
        let same = iou(&scene.crop(&in_box, near.window), &near.everything.clone().within(near.local(room))) >= SAME;
        Ok(if alone && same { scene } else { near })
    }
}

/// A box within the image in whole pixels, at least one.
fn pixels([x0, y0, x1, y1]: [f32; 4], (width, height): (u32, u32)) -> [u32; 4] {
    let (left, top) = ((x0 as u32).min(width - 1), (y0 as u32).min(height - 1));
    [left, top, (x1.ceil() as u32).clamp(left + 1, width), (y1.ceil() as u32).clamp(top + 1, height)]
}
