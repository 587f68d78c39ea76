//! From a pickle's values to the state dict that torch meant.

use super::numpy;
use super::tree::{Bytes, Id, Node, Tree};
use super::{MAX_DEPTH, MAX_NAME, MAX_RANK};
use crate::dtype::FileDtype;
use crate::error::{Fault, shorten};
use crate::read::skip;
use std::collections::{BTreeMap, HashMap, HashSet};

/// A tensor as the pickle describes it: a view of numbers that lie elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct RawTensor<'a> {
    /// How the numbers are stored.
    pub stored: FileDtype,
    /// What the tensor is made of, mostly the same.
    pub dtype: FileDtype,
    pub data: Data<'a>,
    /// First element, in elements of `stored`.
    pub first: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
    /// torch's negative bit: the tensor is what is stored with the other sign.
    pub negative: bool,
}

/// Where the numbers of a tensor lie.
#[derive(Debug, Clone)]
pub(crate) enum Data<'a> {
    /// In a storage of the container: its name, and the length that the pickle claims for it, in bytes.
    Storage { key: &'a str, bytes: u64 },
    /// In the pickle, as numpy writes them.
    Pickle { bytes: Bytes, big_endian: bool },
}

/// The dictionary of tensors of a file, and where it was found.
#[derive(Debug)]
pub(crate) struct StateDict<'a> {
    pub tensors: BTreeMap<String, RawTensor<'a>>,
    pub nested: Option<String>,
    pub notes: Vec<String>,
    /// Tensors that are not read, and as what they are there.
    pub skipped: BTreeMap<String, String>,
}

/// Names under which trainers keep the weights, the likeliest first.
const KNOWN: [&str; 15] = [
    "model",
    "state_dict",
    "model_state_dict",
    "model_state",
    "net",
    "network",
    "params_ema",
    "params",
    "module",
    "model_ema",
    "ema",
    "weights",
    "state",
    "generator",
    "teacher",
];
/// Most notes kept: a hostile file could make millions.
const MAX_NOTES: usize = 20;

/// Finds the dictionary of tensors, at the top or nested.
pub(crate) fn state_dict(tree: &Tree) -> Result<StateDict<'_>, Fault> {
    let mut finder = Finder { tree, counts: HashMap::new(), visiting: HashSet::new() };
    let Node::Dict(_) = tree.node(tree.root) else {
        return Err(Fault::NotACheckpoint(match tree.node(tree.root) {
            Node::Call(..) if finder.tensor(tree.root)?.is_some() => "it holds one tensor without a name".into(),
            Node::Call(..) => {
                format!("it holds {}, a whole pickled module; save its state_dict() instead", tree.describe(tree.root))
            }
            _ => format!("it holds {}, not a dictionary of tensors", tree.describe(tree.root)),
        }));
    };
    let mut path: Vec<(Id, &str)> = Vec::new();
    let mut at = tree.root;
    let mut passed = HashSet::new();
    // Step down while a dictionary inside holds more tensors than the present one does itself.
    while passed.insert(at) {
        let own = finder.direct(at)?;
        let mut best: Option<(&str, Id, usize)> = None;
        let mut others = 0;
        for (key, child) in finder.dicts(at) {
            let total = finder.total(child, 0)?;
            if total == 0 {
                continue;
            }
            others += 1;
            let rank = |k: &str| KNOWN.iter().position(|&known| known == k).unwrap_or(KNOWN.len());
            if best.is_none_or(|(k, _, _)| rank(key) < rank(k)) {
                best = Some((key, child, total));
            }
        }
        match best {
            // several dictionaries, none of a known name: all of them are the model
            Some((key, _, _)) if others > 1 && !KNOWN.contains(&key) => break,
            Some((key, child, total)) if total > own => {
                path.push((at, key));
                at = child;
            }
            _ => break,
        }
        if path.len() > MAX_DEPTH {
            return Err(too_deep());
        }
    }
    let mut out = StateDict { tensors: BTreeMap::new(), nested: None, notes: Vec::new(), skipped: BTreeMap::new() };
    finder.collect(at, "", 0, &mut HashSet::new(), &mut out)?;
    if at != tree.root {
        finder.note_beside(&path, &mut out)?;
        out.nested = Some(path.iter().map(|(_, key)| shorten(key)).collect::<Vec<_>>().join("."));
    }
    if let (true, Some((name, what))) = (out.tensors.is_empty(), out.skipped.first_key_value()) {
        let count = out.skipped.len();
        return Err(Fault::Unsupported(format!("the types of all its {count} tensors: '{}' is {what}", shorten(name))));
    }
    if out.tensors.is_empty() {
        let module = finder.entries(tree.root).iter().find(|(_, value)| matches!(tree.node(*value), Node::Call(..)));
        let advice = module.map(|&(key, value)| {
            let key = tree.str(key).map_or_else(|| tree.describe(key), |key| format!("'{}'", shorten(key)));
            format!(
                "; {key} is {}: if it is a whole pickled module, save its state_dict() instead",
                tree.describe(value)
            )
        });
        let advice = advice.unwrap_or_default();
        return Err(Fault::NotACheckpoint(format!("it is a pickle without any named tensor{advice}")));
    }
    Ok(out)
}

fn too_deep() -> Fault {
    Fault::limit(format!("dictionaries nested deeper than {MAX_DEPTH} levels"))
}

struct Finder<'a> {
    tree: &'a Tree,
    /// Tensors in a dictionary and all below it.
    counts: HashMap<Id, usize>,
    visiting: HashSet<Id>,
}

impl<'a> Finder<'a> {
    fn entries(&self, id: Id) -> &'a [(Id, Id)] {
        match self.tree.node(id) {
            Node::Dict(v) => v,
            _ => &[],
        }
    }

    /// The dictionaries in a dictionary that have a string for a key.
    fn dicts(&self, id: Id) -> Vec<(&'a str, Id)> {
        let dict = |&(k, v): &(Id, Id)| match self.tree.node(v) {
            Node::Dict(_) => self.tree.str(k).map(|k| (k, v)),
            _ => None,
        };
        self.entries(id).iter().filter_map(dict).collect()
    }

    /// Tensors directly in a dictionary.
    fn direct(&self, id: Id) -> Result<usize, Fault> {
        let mut n = 0;
        for &(k, v) in self.entries(id) {
            n += usize::from(self.tree.str(k).is_some() && self.looks_like_tensor(v));
        }
        Ok(n)
    }

    fn total(&mut self, id: Id, depth: usize) -> Result<usize, Fault> {
        if let Some(&n) = self.counts.get(&id) {
            return Ok(n);
        }
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        if !self.visiting.insert(id) {
            return Ok(0); // a dictionary within itself
        }
        let mut n = self.direct(id)?;
        for (_, child) in self.dicts(id) {
            n = n.saturating_add(self.total(child, depth + 1)?);
        }
        self.visiting.remove(&id);
        self.counts.insert(id, n);
        Ok(n)
    }

    fn collect(
        &self,
        id: Id,
        prefix: &str,
        depth: usize,
        seen: &mut HashSet<Id>,
        out: &mut StateDict<'a>,
    ) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        if !seen.insert(id) {
            return Ok(());
        }
        for &(k, v) in self.entries(id) {
            let Some(key) = self.tree.str(k) else {
                note(out, || format!("skipped an entry of '{}' whose key is not a string", shorten(prefix)));
                continue;
            };
            if prefix.len() + key.len() > MAX_NAME {
                return Err(Fault::limit(format!("a tensor's name has more than {MAX_NAME} bytes")));
            }
            let name = format!("{prefix}{key}");
            if let Node::Dict(_) = self.tree.node(v) {
                self.collect(v, &format!("{name}."), depth + 1, seen, out)?;
                continue;
            }
            match self.tensor(v) {
                Ok(Some(t)) => {
                    out.tensors.insert(name, t);
                }
                Ok(None) => match self.other_tensor(v) {
                    Some(class) => skip(&mut out.skipped, name, format!("a tensor of class {}", shorten(class))),
                    None => note(out, || format!("skipped '{}': {}", shorten(&name), self.tree.describe(v))),
                },
                Err(Fault::Unsupported(what)) => skip(&mut out.skipped, name, what),
                Err(Fault::Malformed(why)) => {
                    return Err(Fault::Malformed(format!("tensor '{}': {why}", shorten(&name))));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    /// Says what lies beside the state dict (an optimiser's state, the number of the epoch, another state dict…), on the whole way to it.
    fn note_beside(&mut self, path: &[(Id, &str)], out: &mut StateDict<'a>) -> Result<(), Fault> {
        let (mut taken, mut others) = (String::new(), Vec::new());
        for &(dict, chosen) in path {
            for (key, child) in self.dicts(dict) {
                let tensors = self.total(child, 0)?;
                if key != chosen && tensors > 0 && others.len() < MAX_NOTES {
                    others.push(format!("'{taken}{}' ({tensors} tensors)", shorten(key)));
                }
            }
            taken += &format!("{}.", shorten(chosen));
        }
        if !others.is_empty() {
            let (taken, read) = (taken.trim_end_matches('.'), out.tensors.len() + out.skipped.len());
            let others = others.join(", ");
            out.notes.insert(0, format!("the weights are those of '{taken}' ({read} tensors); not read: {others}"));
        }
        let (mut beside, mut more) = (Vec::new(), 0);
        for &(dict, chosen) in path {
            for &(k, v) in self.entries(dict) {
                let key = self.tree.str(k);
                let told = matches!(self.tree.node(v), Node::Dict(_)) && self.counts.get(&v).is_some_and(|&n| n > 0);
                if key == Some(chosen) || key.is_some() && told {
                    continue;
                }
                if beside.len() == MAX_NOTES {
                    more += 1;
                    continue;
                }
                let key = key.map_or_else(|| self.tree.describe(k), shorten);
                beside.push(format!("'{key}' ({})", self.tree.describe(v)));
            }
        }
        if !beside.is_empty() {
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            note(out, || format!("skipped beside the weights: {}{more}", beside.join(", ")));
        }
        Ok(())
    }

    fn looks_like_tensor(&self, id: Id) -> bool {
        match self.tree.node(id) {
            Node::Call(f, _) => self.tree.global(*f).is_some_and(|called| {
                matches!(called, ("torch._utils", name) if name.starts_with("_rebuild_"))
                    || is_subclass(called)
                    || numpy::is_array(called)
            }),
            _ => false,
        }
    }

    /// The class of an object of torch's that is some tensor by its name (one process' shard of one, a parameter that was never made).
    fn other_tensor(&self, id: Id) -> Option<&'a str> {
        let Node::Call(f, _) = self.tree.node(id) else { return None };
        let (module, class) = self.tree.global(*f)?;
        (module.starts_with("torch") && (class.ends_with("Tensor") || class.ends_with("Parameter"))).then_some(class)
    }

    /// The tensor that a value describes; none when it describes something else. [`Fault::Unsupported`] says as what it is there.
    fn tensor(&self, id: Id) -> Result<Option<RawTensor<'a>>, Fault> {
        if let Some(array) = numpy::array(self.tree, id)? {
            return Ok(Some(array));
        }
        let (mut callee, mut args) = match self.tree.node(id) {
            Node::Call(f, a) => (*f, *a),
            _ => return Ok(None),
        };
        let mut converted = None;
        // A parameter wraps a tensor, a subclass wraps its parent's call: a few times at most.
        for wrapped in 0..8 {
            let list = self.tree.seq(args).unwrap_or_default();
            let tensor = match self.tree.global(callee) {
                Some(("torch._utils", "_rebuild_tensor")) => self.view(list, None, None)?,
                Some(("torch._utils", "_rebuild_tensor_v2")) => self.view(list, None, list.get(6))?,
                Some(("torch._utils", "_rebuild_tensor_v3")) => {
                    self.view(list, Some(self.dtype(list.get(6))?), list.get(7))?
                }
                // what has no storage, as XLA's tensors: (array, element type, device, …)
                Some(("torch._utils", "_rebuild_device_tensor_from_numpy" | "_rebuild_xla_tensor")) => {
                    converted = Some(self.dtype(list.get(1))?);
                    let array = list.first().map(|&array| numpy::array(self.tree, array)).transpose()?.flatten();
                    array.ok_or_else(|| Fault::malformed("a tensor without the array that it was saved as"))?
                }
                // the same of later versions: (tensor, element type, device, …)
                Some(("torch._utils", "_rebuild_device_tensor_from_cpu_tensor")) => {
                    converted = Some(self.dtype(list.get(1))?);
                    (callee, args) = self.wrapped(list)?;
                    continue;
                }
                Some(("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state")) => {
                    (callee, args) = self.wrapped(list)?;
                    continue;
                }
                Some(called) if is_subclass(called) => match list {
                    [f, _, a, ..] => {
                        (callee, args) = (*f, *a);
                        continue;
                    }
                    _ => return Err(Fault::malformed("a tensor subclass without a tensor")),
                },
                Some(("torch._utils", name)) if name.starts_with("_rebuild_") => {
                    return Err(Fault::Unsupported(kind(name)));
                }
                // what a subclass is made by (jagged nested tensors, for one)
                Some((_, name)) if wrapped > 0 => {
                    return Err(Fault::Unsupported(format!("a tensor of class {}", shorten(name))));
                }
                _ => return Ok(None),
            };
            return match converted {
                Some(dtype) if !converts(tensor.stored, dtype) => {
                    Err(Fault::Unsupported(format!("a tensor of {dtype} that was saved as {}", tensor.stored)))
                }
                Some(dtype) => Ok(Some(RawTensor { dtype, ..tensor })),
                None => Ok(Some(tensor)),
            };
        }
        Err(Fault::malformed("a tensor wrapped more than 8 times"))
    }

    /// The call that makes the tensor which comes first in `list`.
    fn wrapped(&self, list: &[Id]) -> Result<(Id, Id), Fault> {
        match list.first().map(|&inner| self.tree.node(inner)) {
            Some(Node::Call(f, a)) => Ok((*f, *a)),
            _ => Err(Fault::malformed("a parameter without a tensor")),
        }
    }

    /// A `torch.dtype`.
    fn dtype(&self, id: Option<&Id>) -> Result<FileDtype, Fault> {
        let dtype = id.and_then(|&d| self.tree.global(d)).filter(|(m, _)| *m == "torch");
        let (_, name) = dtype.ok_or_else(|| Fault::malformed("a tensor without an element type"))?;
        FileDtype::from_torch(name).ok_or_else(|| Fault::Unsupported(of_type("torch", name)))
    }

    /// torch's negative bit, out of what it notes about a tensor. As in torch the name counts, whatever stands with it.
    fn negative(&self, metadata: Option<&Id>) -> Result<bool, Fault> {
        let notes = metadata.map(|&m| self.entries(m)).unwrap_or_default();
        let has = |name| notes.iter().any(|&(key, _)| self.tree.str(key) == Some(name));
        if has("conj") {
            return Err(Fault::Unsupported("the conjugate of a tensor of real numbers".into()));
        }
        Ok(has("neg"))
    }

    /// `(storage, first element, shape, strides, …)`; `dtype` when the storage has no type of its own.
    fn view(&self, args: &[Id], dtype: Option<FileDtype>, metadata: Option<&Id>) -> Result<RawTensor<'a>, Fault> {
        let [storage, first, shape, strides, ..] = *args else {
            return Err(Fault::malformed("a tensor with too few fields"));
        };
        let (stored, key, bytes, view_offset) = self.storage(storage)?;
        let dtype = dtype.unwrap_or(stored);
        let bad = |what: &str| Fault::malformed(format!("its {what} is not made of whole numbers from 0 up"));
        if self.tree.seq(shape).is_some_and(|s| s.len() > MAX_RANK) {
            return Err(Fault::limit(format!("a tensor has more than {MAX_RANK} axes")));
        }
        let first = self.tree.size(first).ok_or_else(|| bad("offset"))?;
        Ok(RawTensor {
            stored: dtype,
            dtype,
            data: Data::Storage { key, bytes },
            first: first.checked_add(view_offset).ok_or_else(|| bad("offset"))?,
            shape: self.tree.sizes(shape).ok_or_else(|| bad("shape"))?,
            strides: self.tree.sizes(strides).ok_or_else(|| bad("stride"))?,
            negative: self.negative(metadata)?,
        })
    }

    /// `('storage', class, key, location, elements[, view])`: element type, key, bytes, and the first element of a
    /// view (files before torch 0.4 had views of storages).
    fn storage(&self, id: Id) -> Result<(FileDtype, &'a str, u64, usize), Fault> {
        let bad = || Fault::malformed("its storage is not described as torch does");
        let Node::Persistent(description) = self.tree.node(id) else { return Err(bad()) };
        let [tag, class, key, _, count, rest @ ..] = self.tree.seq(*description).unwrap_or_default() else {
            return Err(bad());
        };
        if self.tree.str(*tag) != Some("storage") {
            return Err(bad());
        }
        let (module, class) = self.tree.global(*class).ok_or_else(bad)?;
        if !matches!(module, "torch" | "torch.storage" | "torch.cuda") {
            return Err(bad());
        }
        let dtype = FileDtype::from_storage(class).ok_or_else(|| Fault::Unsupported(of_type(module, class)))?;
        let count = self.tree.int(*count).and_then(|v| u64::try_from(v).ok()).ok_or_else(bad)?;
        let bytes = count.checked_mul(dtype.size() as u64).ok_or_else(bad)?;
        let key = self.tree.str(*key).ok_or_else(bad)?;
        let view = match rest.first().and_then(|&v| self.tree.seq(v)) {
            Some([_, offset, _]) => self.tree.int(*offset).and_then(|v| usize::try_from(v).ok()).ok_or_else(bad)?,
            _ => 0,
        };
        Ok((dtype, key, bytes, view))
    }
}

/// Whether numbers of one type are read as another: floats of 16 bits and more.
fn converts(from: FileDtype, to: FileDtype) -> bool {
    let wide = |t: FileDtype| t.is_float() && t.size() > 1;
    from == to || (wide(from) && wide(to))
}

/// How torch notes tensors of other classes: function, class, arguments.
fn is_subclass(called: (&str, &str)) -> bool {
    matches!(called, ("torch._tensor" | "torch.tensor", "_rebuild_from_type" | "_rebuild_from_type_v2"))
}

/// A tensor whose elements are of a type that is not read, in words.
fn of_type(module: &str, name: &str) -> String {
    let complex = if name.to_ascii_lowercase().starts_with("complex") { "complex " } else { "" };
    format!("a {complex}tensor of {}.{}", shorten(module), shorten(name))
}

/// What torch rebuilds by this function, in words.
fn kind(function: &str) -> String {
    match function {
        "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor" => "a sparse tensor".into(),
        "_rebuild_qtensor" => "a quantised tensor".into(),
        "_rebuild_nested_tensor" => "a nested tensor".into(),
        "_rebuild_meta_tensor_no_storage" => "a tensor on the meta device, without numbers".into(),
        "_rebuild_wrapper_subclass" => "a tensor of a class that keeps its numbers in parts".into(),
        other => format!("a tensor made by {}", shorten(other)),
    }
}

fn note(out: &mut StateDict<'_>, text: impl FnOnce() -> String) {
    match out.notes.len() {
        n if n < MAX_NOTES => out.notes.push(text()),
        n if n == MAX_NOTES => out.notes.push("… and more entries skipped".into()),
        _ => {}
    }
}
