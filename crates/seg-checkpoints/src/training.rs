//! Which weights are trained, how fast, and which stay as they are: rules as data, first match wins.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Weights that are trained alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterGroup {
    /// Its name in tables and logs.
    pub name: Cow<'static, str>,
    /// Factor on the optimiser's learning rate, 0 or more.
    pub lr_factor: f64,
    /// Weight decay, as the optimiser understands it.
    pub weight_decay: f64,
}

impl ParameterGroup {
    /// A group of the given name.
    pub const fn new(name: &'static str, lr_factor: f64, weight_decay: f64) -> Self {
        Self { name: Cow::Borrowed(name), lr_factor, weight_decay }
    }
}

/// What training does with a weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Treatment {
    /// The optimiser moves it.
    Trained(ParameterGroup),
    /// It stays as it is and gets no gradient.
    Frozen,
    /// No gradient reaches it, but forward passes in train mode move it: running statistics of batch norms.
    Statistic,
}

/// A pattern of names and what becomes of the weights that it fits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterRule {
    /// A whole name of the state dict; `*` stands for any characters, none included.
    pub pattern: Cow<'static, str>,
    /// What becomes of the weights.
    pub treatment: Treatment,
}

/// An ordered list of rules. The first that fits a name decides; where none does, the weight is frozen. Running statistics of batch norms
/// (`….running_mean`, `….running_var`, `….num_batches_tracked`) follow their norm: where its `weight` is trained they are [`Treatment::Statistic`], and
/// where it is frozen so are they.
///
/// ```
/// use seg_checkpoints::{ParameterGroup, ParameterRules, Treatment};
/// let head = Treatment::Trained(ParameterGroup::new("head", 1.0, 0.0));
/// let rules = ParameterRules::new([("encoder.*adapter*", head.clone()), ("encoder.*", Treatment::Frozen), ("*", head.clone())]);
/// assert_eq!(rules.treatment("encoder.blocks.0.adapter.weight"), &head);
/// assert_eq!(rules.treatment("encoder.blocks.0.attn.weight"), &Treatment::Frozen);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ParameterRules(Vec<ParameterRule>);

impl ParameterRules {
    /// Rules in the order in which they are asked.
    pub fn new(rules: impl IntoIterator<Item = (&'static str, Treatment)>) -> Self {
        let rule = |(pattern, treatment)| ParameterRule { pattern: Cow::Borrowed(pattern), treatment };
        Self(rules.into_iter().map(rule).collect())
    }

    /// The same rules with one that is asked before them.
    #[must_use]
    pub fn with_first(mut self, pattern: impl Into<Cow<'static, str>>, treatment: Treatment) -> Self {
        self.0.insert(0, ParameterRule { pattern: pattern.into(), treatment });
        self
    }

    /// The same rules with other rates: `change` is called for the group of each rule that trains.
    #[must_use]
    pub fn regrouped(mut self, mut change: impl FnMut(&mut ParameterGroup)) -> Self {
        for rule in &mut self.0 {
            if let Treatment::Trained(group) = &mut rule.treatment {
                change(group);
            }
        }
        self
    }

    /// The rules, in order.
    pub fn rules(&self) -> &[ParameterRule] {
        &self.0
    }

    /// What becomes of the weight `name`.
    pub fn treatment(&self, name: &str) -> &Treatment {
        const STATISTICS: [&str; 3] = [".running_mean", ".running_var", ".num_batches_tracked"];
        if let Some(norm) = STATISTICS.iter().find_map(|ending| name.strip_suffix(ending)) {
            return match self.ruled(&format!("{norm}.weight")) {
                Treatment::Frozen => &Treatment::Frozen,
                Treatment::Trained(_) | Treatment::Statistic => &Treatment::Statistic,
            };
        }
        self.ruled(name)
    }

    fn ruled(&self, name: &str) -> &Treatment {
        self.0.iter().find(|rule| fits(&rule.pattern, name)).map_or(&Treatment::Frozen, |rule| &rule.treatment)
    }

    /// The groups, each once, in the order in which the rules name them.
    pub fn groups(&self) -> Vec<&ParameterGroup> {
        let mut groups: Vec<&ParameterGroup> = Vec::new();
        for rule in &self.0 {
            if let Treatment::Trained(group) = &rule.treatment
                && !groups.contains(&group)
            {
                groups.push(group);
            }
        }
        groups
    }

    /// The weights of a state dict by what becomes of them: the groups in order, then statistics, then what is frozen. `shapes` are the names
    /// and shapes.
    pub fn table<'n>(&self, shapes: impl IntoIterator<Item = (&'n str, &'n [usize])>) -> Vec<TreatedWeights> {
        let groups = self.groups();
        let row = |treatment| TreatedWeights { treatment, names: BTreeMap::new() };
        let mut rows: Vec<TreatedWeights> =
            groups.iter().map(|group| row(Treatment::Trained((*group).clone()))).collect();
        rows.extend([row(Treatment::Statistic), row(Treatment::Frozen)]);
        for (name, shape) in shapes {
            let treatment = self.treatment(name);
            if let Some(row) = rows.iter_mut().find(|row| row.treatment == *treatment) {
                row.names.insert(name.to_owned(), shape.to_vec());
            }
        }
        rows
    }
}

/// A row of [`ParameterRules::table`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TreatedWeights {
    /// What becomes of these weights.
    pub treatment: Treatment,
    /// Their names and shapes.
    pub names: BTreeMap<String, Vec<usize>>,
}

impl TreatedWeights {
    /// Numbers in all of them together.
    pub fn elements(&self) -> u64 {
        self.names.values().map(|shape| shape.iter().map(|&side| side as u64).product::<u64>()).sum()
    }
}

/// Whether the whole `name` fits a pattern in which `*` stands for any characters, none included.
pub fn fits(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(start) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return name.ends_with(part);
        }
        // the first place is as good as any: what follows can only have more room
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name) in
            [("a.b", "a.b"), ("a.*", "a."), ("*", "a"), ("*b*", "abc"), ("a*b*c", "a.b.b.c"), ("a*c", "abc"), ("*", "")]
        {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("a.b", "a.bc"), ("a.*", "ab"), ("a*b", "abc"), ("ab*ba", "aba"), ("*b*d", "bc")] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn the_first_rule_decides() {
        let group = |name, lr| Treatment::Trained(ParameterGroup::new(name, lr, 0.));
        let rules = ParameterRules::new([
            ("enc.*adapter*", group("new", 1.)),
            ("enc.*", Treatment::Frozen),
            ("dec.*", group("old", 0.1)),
            ("head.*", group("new", 1.)),
        ]);
        assert_eq!(rules.groups().iter().map(|g| &*g.name).collect::<Vec<_>>(), ["new", "old"]);
        assert_eq!(rules.treatment("nobody.knows"), &Treatment::Frozen);
        assert_eq!(rules.treatment("head.bn.running_mean"), &Treatment::Statistic);
        // a frozen norm's statistics are frozen with it
        assert_eq!(rules.treatment("enc.bn.running_mean"), &Treatment::Frozen);
        assert_eq!(rules.treatment("enc.adapter.bn.running_var"), &Treatment::Statistic);
        let shapes: [(&str, &[usize]); 5] = [
            ("enc.0.adapter.w", &[2, 3]),
            ("enc.0.w", &[7]),
            ("dec.w", &[5, 1]),
            ("head.w", &[]),
            ("head.bn.running_var", &[4]),
        ];
        let table = rules.table(shapes);
        let sizes: Vec<(usize, u64)> = table.iter().map(|row| (row.names.len(), row.elements())).collect();
        assert_eq!(sizes, [(2, 7), (1, 5), (1, 4), (1, 7)]);
    }

    #[test]
    fn rules_are_data() {
        let rules = ParameterRules::new([
            ("a.*", Treatment::Frozen),
            ("*", Treatment::Trained(ParameterGroup::new("b", 1., 0.))),
        ]);
        let text = serde_json::to_string(&rules).unwrap();
        assert_eq!(serde_json::from_str::<ParameterRules>(&text).unwrap(), rules);
        assert!(serde_json::from_str::<ParameterRules>(r#"[{"pattern": "a", "treatment": "froze"}]"#).is_err());
    }
}
