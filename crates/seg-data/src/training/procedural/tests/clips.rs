use super::*;
use crate::training::referring::ClipExamples as _;

fn clips() -> Procedural {
    made(Spec { size: Span::new(72., 72.), clip: ClipSpec { leaving: 0.3, ..ClipSpec::default() }, ..Spec::default() })
}

/// Objects that a sentence's words fit, sides among those that the other words leave.
fn fitting(clip: &Clip) -> Vec<usize> {
    let words: Vec<&str> = clip.sentence.split(' ').collect();
    let says = |word: &str| words.contains(&word);
    let fits = |object: &ClipObject| {
        let named = |given: Option<&str>, own: &str| given.is_none_or(|given| given == own);
        let colour = Colour::ALL.iter().map(|c| c.name()).find(|name| says(name));
        let shape = Shape::ALL.iter().map(|s| s.name()).find(|name| says(name));
        let motion = [("still", Motion::Still), ("up", Motion::Up), ("down", Motion::Down)];
        let motion = motion.into_iter().find(|(word, _)| says(word)).map(|(_, motion)| motion);
        let motion = motion.or(clip.sentence.contains("moving left").then_some(Motion::Left));
        let motion = motion.or(clip.sentence.contains("moving right").then_some(Motion::Right));
        named(colour, object.colour.name())
            && named(shape, object.shape.name())
            && motion.is_none_or(|motion| motion == object.motion)
            && (!says("large") || object.large)
            && (!says("small") || !object.large)
    };
    let among: Vec<usize> = (0..clip.objects.len()).filter(|i| fits(&clip.objects[*i])).collect();
    let side: Option<fn([f64; 2]) -> f64> = match &clip.sentence {
        s if s.contains("on the left") => Some(|c| -c[0]),
        s if s.contains("on the right") => Some(|c| c[0]),
        s if s.contains("at the top") => Some(|c| -c[1]),
        s if s.contains("at the bottom") => Some(|c| c[1]),
        _ => None,
    };
    let Some(side) = side else { return among };
    // whoever is farthest on that side in any frame
    let farthest = |at: usize| {
        among
            .iter()
            .copied()
            .max_by(|a, b| side(clip.objects[*a].centres[at]).total_cmp(&side(clip.objects[*b].centres[at])))
    };
    let mut found: Vec<usize> = (0..clip.frames.len()).filter_map(farthest).collect();
    found.dedup();
    found
}

#[test]
fn sentences_mean_one_object_and_masks_show_it() {
    let pictures = clips();
    let (mut sides, mut gone) = (0, 0);
    for index in 0..40 {
        let clip = pictures.clip(place(index), Split::Training).unwrap();
        assert_eq!(fitting(&clip), [clip.meant], "{}: {:?}", clip.sentence, clip.objects);
        sides += usize::from(clip.sentence.contains(" the left") || clip.sentence.contains(" at the "));
        assert_eq!((clip.frames.len(), clip.masks.len()), (8, 8));
        for (frame, mask) in clip.frames.iter().zip(&clip.masks) {
            assert_eq!((frame.dimensions(), mask.dimensions()), ((72, 72), (72, 72)));
        }
        let inside = |mask: &crate::GrayImage| mask.as_raw().iter().filter(|v| **v >= 128).count();
        assert!(clip.masks.iter().filter(|m| inside(m) > 0).count() >= 4);
        gone += usize::from(clip.masks.iter().any(|m| inside(m) == 0));
        // around its centre
        let (mask, [x, y]) = (&clip.masks[0], clip.objects[clip.meant].centres[0].map(|c| c * 72.));
        for (px, py, level) in mask.enumerate_pixels().filter(|p| p.2[0] > 0) {
            assert!((f64::from(px) - x).hypot(f64::from(py) - y) < 0.19 * 72. + 4., "{level:?}");
        }
    }
    assert!(sides > 3 && gone > 3, "{sides} {gone}");
    assert_eq!(pictures.clip(place(3), Split::Training).unwrap(), clips().clip(place(3), Split::Training).unwrap());
    assert_ne!(pictures.clip(place(3), Split::Training).unwrap(), pictures.clip(place(4), Split::Training).unwrap());
}

#[test]
fn some_pairs_of_colour_and_shape_are_held_out() {
    let pictures = clips();
    for index in 0..30 {
        let clip = pictures.clip(place(index), Split::Training).unwrap();
        assert!(clip.objects.iter().all(|o| !held_out(o.colour, o.shape)));
        let clip = pictures.clip(place(index), Split::HeldOut).unwrap();
        assert!(held_out(clip.objects[clip.meant].colour, clip.objects[clip.meant].shape));
        assert_eq!(fitting(&clip), [clip.meant], "{}", clip.sentence);
    }
    let held = |shape: Shape| Colour::ALL.into_iter().filter(|colour| held_out(*colour, shape)).count();
    assert!(Shape::ALL.into_iter().all(|shape| (1..=2).contains(&held(shape))));
    assert_eq!(Shape::ALL.into_iter().map(held).sum::<usize>(), 8);
}

#[test]
fn held_out_sentences_are_never_trained() {
    let training = ProceduralClips::new(clips(), Split::Training, Some(1)).unwrap();
    let held = ProceduralClips::new(clips(), Split::HeldOut, Some(1)).unwrap();
    let sentences = |clips: &ProceduralClips| -> Vec<String> {
        (0..150).map(|index| clips.clip(place(index)).unwrap().sentence).collect()
    };
    let (trained, kept) = (sentences(&training), sentences(&held));
    let pair = |sentence: &String| {
        let says = |name: &str| sentence.split(' ').any(|word| word == name);
        Some((Colour::ALL.into_iter().find(|c| says(c.name()))?, Shape::ALL.into_iter().find(|s| says(s.name()))?))
    };
    assert!(kept.iter().all(|sentence| pair(sentence).is_some_and(|(c, s)| held_out(c, s))), "{kept:?}");
    assert!(trained.iter().filter_map(pair).all(|(c, s)| !held_out(c, s)), "{trained:?}");
    assert!(kept.iter().all(|sentence| !trained.contains(sentence)));
    let known = words();
    let all = trained.iter().chain(&kept);
    assert!(all.clone().flat_map(|sentence| sentence.split(' ')).all(|word| known.contains(word)), "{known:?}");
    // a single frame shows no motion
    assert!(all.clone().all(|sentence| !sentence.contains("moving") && !sentence.contains("still")));
    let clip = held.clip(place(0)).unwrap();
    assert_eq!((clip.frames.len(), clip.masks[0].iter().all(|v| [0, 255].contains(v))), (1, true));
    assert_ne!(held.digest().unwrap(), training.digest().unwrap());
    assert!(ProceduralClips::new(clips(), Split::Training, Some(1000)).is_err());
}

#[test]
fn mirrored_clips_turn_their_sentences() {
    use crate::training::transform::{Step, Transforms};
    let clips = ProceduralClips::new(clips(), Split::Training, Some(2)).unwrap();
    let clip = (0..).map(|i| clips.clip(place(i)).unwrap()).find(|c| c.sentence.contains("on the left")).unwrap();
    let always = Transforms { steps: vec![Step::FlipHorizontal { chance: 1. }] };
    let turned = always.apply_to_clip(clip.clone(), place(0)).unwrap();
    assert!(turned.sentence.contains("on the right"), "{}", turned.sentence);
    assert_eq!((&turned.before, turned.frames.len()), (&clip.frames, 2));
    let (width, mask) = (clip.masks[0].width(), &turned.frames[0].mask);
    assert!(
        clip.masks[0]
            .enumerate_pixels()
            .all(|(x, y, level)| { mask.levels[(y * width + width - 1 - x) as usize] == f32::from(level[0]) })
    );
    assert_eq!(Transforms::default().apply_to_clip(clip.clone(), place(0)).unwrap().sentence, clip.sentence);
}

#[test]
fn colours_are_those_that_are_asked_for() {
    let colours = vec![Colour::Blue, Colour::White];
    let pictures = made(Spec {
        size: Span::new(72., 72.),
        clip: ClipSpec { colours: colours.clone(), frames: Span::new(1., 1.), ..ClipSpec::default() },
        ..Spec::default()
    });
    for (index, split) in (0..12).flat_map(|index| [(index, Split::Training), (index, Split::HeldOut)]) {
        let clip = pictures.clip(place(index), split).unwrap();
        assert!(clip.objects.iter().all(|object| colours.contains(&object.colour)), "{:?}", clip.objects);
        assert_eq!(fitting(&clip), [clip.meant], "{}", clip.sentence);
    }
    assert_eq!(Spec::parse("[clip]\ncolours = [\"blue\", \"white\"]", "s").unwrap().clip.colours, colours);
    for (wrong, part) in [
        ("[\"blue\"]", "two or more of red, orange"),
        ("[\"blue\", \"blue\"]", "each once"),
        ("[\"blue\", \"brown\"]", "[Blue, Brown]"),
        ("[\"blue\", \"bleu\"]", "unknown variant `bleu`"),
    ] {
        let message = Spec::parse(&format!("[clip]\ncolours = {wrong}"), "s").unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}
