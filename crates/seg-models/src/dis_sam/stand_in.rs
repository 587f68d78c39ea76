//! `sam+isnet`: the original IS-Net, which takes no prompt, in place of DIS-SAM's second stage, and what to do where the two stages
//! do not show the same object.

use seg_data::RgbImage;

use super::agreement::{iou, share};
use super::clicks::at_clicks;
use super::sight::{Sight, Surroundings, grown, whole_pixels};
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
            Some(bbox) => self.in_box(image, &prompts.points, candidates, whole_pixels(bbox, image.dimensions())),
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
            true => from_afar(near, self.look(image, [0, 0, image.width(), image.height()])?, room),
            false => near,
        };
        let sight = sight.within(room);
        let chosen = choose(candidates, |c| Ok(iou(&sight.part(&c.mask), &sight.seen)))?;
        settle(&self.surroundings, points, chosen, &sight, Some(bbox))
    }
}

/// A window of few pixels (`near`) is enlarged so far that its edges blur: where the whole image (`scene`) shows the same object, and hardly anything beyond
/// the box with its surroundings (`room`), it is seen there.
fn from_afar(near: Sight, scene: Sight, room: [u32; 4]) -> Sight {
    let in_box = scene.everything.clone().within(room);
    let alone = share(&scene.everything, &in_box) >= ALONE;
    let same = iou(&scene.crop(&in_box, near.window), &near.everything.clone().within(near.local(room))) >= SAME;
    if alone && same { scene } else { near }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: (u32, u32) = (40, 24);
    const WINDOW: [u32; 4] = [8, 4, 20, 16];
    const ROOM: [u32; 4] = [9, 5, 19, 15];

    /// A window of the image in which these boxes of the image are seen.
    fn sight(window: [u32; 4], boxes: &[[u32; 4]]) -> Sight {
        let [x0, y0, x1, y1] = window;
        let held = |x: u32, y: u32| boxes.iter().any(|b| (b[0]..b[2]).contains(&x) && (b[1]..b[3]).contains(&y));
        let map = (y0..y1).flat_map(|y| (x0..x1).map(move |x| (x, y))).map(|(x, y)| f32::from(u8::from(held(x, y))));
        Sight::of_map(map.collect(), window, IMAGE)
    }

    #[test]
    fn a_small_object_is_taken_from_the_whole_image_where_that_shows_nothing_else() {
        const WHOLE: [u32; 4] = [0, 0, IMAGE.0, IMAGE.1];
        let (object, blurred, other) = ([10, 6, 18, 14], [10, 6, 18, 13], [24, 2, 36, 20]);
        let near = || sight(WINDOW, &[blurred]);
        assert!(near().is_small() && !sight(WHOLE, &[object]).is_small());
        let taken = |scene: &[[u32; 4]]| from_afar(near(), sight(WHOLE, scene), ROOM).window;
        assert_eq!(taken(&[object]), WHOLE);
        // beside something else, of another shape, not seen at all
        assert_eq!(taken(&[object, other]), WINDOW);
        assert_eq!(taken(&[[10, 6, 14, 14]]), WINDOW);
        assert_eq!(taken(&[]), WINDOW);
    }
}
