//! What training tools put around a model's names: found and taken off, never where it would touch a name that a model has of its own.

use crate::checkpoint::TensorInfo;
use crate::error::shorten;
use crate::identify::identify_tensors;
use crate::transformers;
use std::collections::{BTreeMap, BTreeSet};

/// Before every name: what nobody calls a part of a model. Data-parallel training (and averages of weights), MPG-SAM 2's training.
const BEFORE: [&str; 2] = ["module", "evf_model"];
/// Anywhere in a name, as parts of a model are wrapped, too: `torch.compile`, FSDP of torch 2 and 1, checkpointed activations, DeepSpeed.
const INSIDE: [&str; 5] =
    ["_orig_mod", "_fsdp_wrapped_module", "_fpw_module", "_checkpoint_wrapped_module", "_forward_module"];
/// Data-parallel training of a part; taken out where the model is known.
const PART: [&str; 1] = ["module"];
/// Single numbers that averages of weights keep beside a wrapped model.
const COUNTERS: [&str; 3] = ["n_averaged", "initted", "step"];
/// Beginnings of official names that no wrapper has.
const ROOTS: [&str; 13] = [
    "image_encoder.",
    "mask_decoder.",
    "prompt_encoder.",
    "sam_mask_decoder.",
    "sam_prompt_encoder.",
    "memory_attention.",
    "memory_encoder.",
    "beit3.",
    "stage1.rebnconvin.",
    "stage1d.rebnconvin.",
    "rfb1.",
    "interact_2.",
    "blocks.0.ls1.",
];
/// Which of several models in one file is taken, the likeliest first.
const CHOSEN: [&str; 6] = ["model", "net", "network", "sam", "ema_model", "generator"];
/// What a training module keeps beside its model, by a word in its name.
const BESIDE: [&str; 4] = ["loss", "criterion", "criteria", "metric"];
/// An average of the weights under names of its own (`model_ema.image_encoderneck0weight`).
const AVERAGE: &str = "ema";
/// Fewer tensors are no model.
const SMALLEST: usize = 3;
/// Models and parts that a note names.
const NAMED: usize = 8;
/// Wrappers around each other at most.
const MAX_DEPTH: usize = 8;

/// New names for a file's tensors.
#[derive(Debug, Default)]
pub(crate) struct Unwrapped {
    /// What was taken off the beginning of all names: `module._orig_mod.`.
    pub prefix: Option<String>,
    /// What else was done, in plain words.
    pub notes: Vec<String>,
    /// Why nothing could be done, and what the user can.
    pub hints: Vec<String>,
    /// By the file's name; none for what is left out.
    names: BTreeMap<String, Option<String>>,
}

impl Unwrapped {
    /// Looks for wrappers in the names of `tensors` and of `unread`, which are tensors of the same model.
    pub fn find<'f>(tensors: &'f BTreeMap<String, TensorInfo>, unread: impl IntoIterator<Item = &'f String>) -> Self {
        let list = tensors.keys().chain(unread).map(|name| (name.as_str(), name.clone())).collect();
        let mut names = Names { tensors, list, prefix: String::new(), counters: Vec::new() };
        let (mut notes, mut hints) = (Vec::new(), Vec::new());
        names.take_off();
        let mut others = Vec::new();
        if !names.known() {
            match names.guessed().map_or_else(|| names.one_of_several(), |found| Ok((found, Vec::new(), None))) {
                Ok((found, left_out, note)) => {
                    (names, others) = (found, left_out);
                    notes.extend(note);
                }
                Err(hint) => hints.extend(hint),
            }
        }
        let inside = names.take_out(&INSIDE);
        names.take_off();
        let parts = if names.known() { names.take_out(&PART) } else { Taken::default() };
        notes.extend([inside, parts].iter().filter_map(Taken::note));
        if !names.counters.is_empty() {
            notes.push(format!("{} left out: no weight", names.counters.join(", ")));
        }
        let flat = |name: &str| {
            name.rsplit('.').next().is_some_and(|last| last.trim_start_matches('_').starts_with("flat_param"))
        };
        if let Some((name, _)) = names.list.iter().find(|(name, _)| flat(name)) {
            hints.push(format!(
                "'{}' is what one process of FSDP keeps, many weights in one row: save with StateDictType.FULL_STATE_DICT",
                shorten(name)
            ));
        }
        let left_out = others.into_iter().chain(names.counters).map(|name| (name.to_owned(), None));
        let renamed = names.list.into_iter().map(|(name, now)| (name.to_owned(), Some(now)));
        Self {
            prefix: Some(names.prefix).filter(|p| !p.is_empty()),
            notes,
            hints,
            names: renamed.chain(left_out).collect(),
        }
    }

    /// `map` under the new names, without what is left out.
    pub fn apply<T>(&self, map: BTreeMap<String, T>) -> BTreeMap<String, T> {
        let new = |(name, value)| match self.names.get(&name) {
            Some(new) => new.clone().map(|new| (new, value)),
            None => Some((name, value)),
        };
        map.into_iter().filter_map(new).collect()
    }
}

/// What was taken out of the middle of names.
#[derive(Debug, Default)]
struct Taken {
    words: BTreeSet<&'static str>,
    names: usize,
}

impl Taken {
    fn note(&self) -> Option<String> {
        let words: Vec<String> = self.words.iter().map(|word| format!("'{word}.'")).collect();
        (self.names > 0).then(|| format!("{} taken out of {} names", words.join(" and "), self.names))
    }
}

#[derive(Clone)]
struct Names<'f> {
    tensors: &'f BTreeMap<String, TensorInfo>,
    /// A name in the file, and what it is by now.
    list: Vec<(&'f str, String)>,
    prefix: String,
    counters: Vec<&'f str>,
}

/// The names of one model, what is left out beside it, and a note about both.
type Chosen<'f> = (Names<'f>, Vec<&'f str>, Option<String>);

impl<'f> Names<'f> {
    /// Without any name.
    fn empty(&self) -> Self {
        Self { list: Vec::new(), prefix: self.prefix.clone(), counters: self.counters.clone(), ..*self }
    }

    fn is_counter(&self, file: &str, now: &str) -> bool {
        COUNTERS.contains(&now) && self.tensors.get(file).is_some_and(|info| info.elements() == 1)
    }

    /// The first component of all names but counters.
    fn shared(&self) -> Option<String> {
        let mut names = self.list.iter().filter(|(file, now)| !self.is_counter(file, now)).map(|(_, now)| now);
        let (first, _) = names.next()?.split_once('.')?;
        let has = |name: &String| name.strip_prefix(first).is_some_and(|rest| rest.len() > 1 && rest.starts_with('.'));
        (self.list.iter().any(|(_, now)| has(now)) && names.all(has)).then(|| first.to_owned())
    }

    /// Takes `first`, which is shared, off all names.
    fn strip(&mut self, first: &str) {
        for (file, now) in std::mem::take(&mut self.list) {
            if self.is_counter(file, &now) {
                self.counters.push(file);
            } else {
                self.list.push((file, now[first.len() + 1..].to_owned()));
            }
        }
        self.prefix += first;
        self.prefix.push('.');
    }

    /// Takes off everything that is surely a wrapper.
    fn take_off(&mut self) {
        while let Some(first) = self.shared().filter(|f| BEFORE.contains(&f.as_str()) || INSIDE.contains(&f.as_str())) {
            self.strip(&first);
        }
    }

    /// Takes these words out of all names, unless two names would become one.
    fn take_out(&mut self, words: &[&'static str]) -> Taken {
        let mut taken = Taken::default();
        let mut list = self.list.clone();
        for (_, now) in &mut list {
            let found = words.iter().filter(|word| now.split('.').any(|component| component == **word));
            let found: Vec<_> = found.copied().collect();
            if !found.is_empty() {
                *now = without(now, words);
                taken.words.extend(found);
                taken.names += 1;
            }
        }
        if taken.names == 0 || !distinct(&list) {
            return Taken::default();
        }
        self.list = list;
        taken
    }

    /// Whether these are names of a model that is known here, whole or in part, wrapped parts or not.
    fn known(&self) -> bool {
        let is_root = |now: &str| ROOTS.iter().any(|root| now.starts_with(root));
        self.list.iter().any(|(_, now)| is_root(&bare(now))) || self.recognised()
    }

    /// Whether the tensors are recognised as a model.
    fn recognised(&self) -> bool {
        let info = |(file, now): &(&str, String)| Some((bare(now), self.tensors.get(*file)?.clone()));
        let tensors = self.list.iter().filter_map(info).collect();
        identify_tensors(&tensors).is_some() || transformers::is_known(&tensors)
    }

    /// The names without the prefix that all share, when a known model is below it.
    fn guessed(&self) -> Option<Self> {
        let mut names = self.clone();
        for _ in 0..MAX_DEPTH {
            names.strip(&names.shared()?);
            names.take_off();
            if names.known() {
                return Some(names);
            }
        }
        None
    }

    /// When a part of the names is a whole known model (a training module with a loss, an average of the weights beside them): the names with
    /// its prefix off, what is left out, and a note about it. What lies beside it for no known reason stays. Else why none of several is taken.
    fn one_of_several(&self) -> Result<Chosen<'f>, Option<String>> {
        let mut groups: BTreeMap<&str, Self> = BTreeMap::new();
        for (file, now) in &self.list {
            if let Some((root, _)) = now.split_once('.') {
                groups.entry(root).or_insert_with(|| self.empty()).list.push((file, now.clone()));
            }
        }
        let mut models: BTreeMap<&str, Self> = groups
            .iter()
            .filter(|(_, group)| group.list.len() >= SMALLEST)
            .filter_map(|(root, group)| Some((*root, group.guessed().filter(Self::recognised)?)))
            .collect();
        let chosen = match models.len() {
            1 => models.first_key_value().map(|(root, _)| *root),
            _ => CHOSEN.into_iter().find(|root| models.contains_key(root)),
        };
        let several = || {
            let roots: Vec<String> = models.keys().take(NAMED).map(|root| format!("'{}.'", shorten(root))).collect();
            format!(
                "{} models in one dictionary, under {}: save the one that is meant alone",
                models.len(),
                roots.join(", ")
            )
        };
        let Some(chosen) = chosen else { return Err((models.len() > 1).then(several)) };
        let Some(mut names) = models.remove(chosen) else { return Err(None) };
        let prefix = names.prefix[self.prefix.len()..].to_owned();
        let mut note = format!("the weights are those under '{prefix}' ({} tensors)", names.list.len());
        let (mut left_out, mut not_read) = (Vec::new(), Vec::new());
        for (root, group) in groups.iter().filter(|(root, _)| **root != chosen) {
            let lower = root.to_ascii_lowercase();
            let beside = BESIDE.iter().any(|word| lower.contains(word)) || lower.split('_').any(|word| word == AVERAGE);
            if beside || models.contains_key(root) {
                left_out.extend(group.list.iter().map(|(file, _)| *file));
                not_read.push(format!("'{}.' ({} tensors)", shorten(root), group.list.len()));
            } else {
                names.list.extend(group.list.iter().cloned());
            }
        }
        if !not_read.is_empty() {
            let more = if not_read.len() > NAMED { ", …" } else { "" };
            not_read.truncate(NAMED);
            note += &format!("; not read: {}{more}", not_read.join(", "));
        }
        for (file, now) in self.list.iter().filter(|(_, now)| !now.contains('.')) {
            if self.is_counter(file, now) {
                names.counters.push(file);
            } else {
                names.list.push((file, now.clone()));
            }
        }
        if distinct(&names.list) { Ok((names, left_out, Some(note))) } else { Err(None) }
    }
}

fn distinct(list: &[(&str, String)]) -> bool {
    let mut seen = BTreeSet::new();
    list.iter().all(|(_, now)| seen.insert(now))
}

/// A name without wrappers of parts.
fn bare(name: &str) -> String {
    without(&without(name, &INSIDE), &PART)
}

/// A name without these components; its last one stays.
fn without(name: &str, words: &[&str]) -> String {
    let last = name.split('.').count() - 1;
    let kept = name.split('.').enumerate().filter(|(at, component)| *at == last || !words.contains(component));
    kept.map(|(_, component)| component).collect::<Vec<_>>().join(".")
}
