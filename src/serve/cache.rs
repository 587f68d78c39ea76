//! What is kept in memory, bounded by bytes: what was not used for longest goes first.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// Values with their sizes.
#[derive(Debug)]
pub struct Cache<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// From the one that was not used for longest.
    order: BTreeMap<u64, K>,
    tick: u64,
    bytes: u64,
    most: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: u64,
    used: u64,
}

impl<K: Clone + Eq + Hash, V> Cache<K, V> {
    /// Of at most so many bytes.
    pub fn new(most: u64) -> Self {
        Self { entries: HashMap::new(), order: BTreeMap::new(), tick: 0, bytes: 0, most }
    }

    /// The value, which now was used last.
    pub fn get(&mut self, key: &K) -> Option<&V> {
        let entry = self.entries.get_mut(key)?;
        self.order.remove(&entry.used);
        self.tick += 1;
        entry.used = self.tick;
        self.order.insert(self.tick, key.clone());
        Some(&entry.value)
    }

    /// The value, without its being used.
    pub fn peek(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// Keeps a value of `bytes`, and gives back what had to go for it. The newest stays, however large it is.
    pub fn put(&mut self, key: K, value: V, bytes: u64) -> Vec<(K, V)> {
        self.remove(&key);
        self.tick += 1;
        self.order.insert(self.tick, key.clone());
        self.entries.insert(key, Entry { value, bytes, used: self.tick });
        self.bytes += bytes;
        self.shrink()
    }

    /// An entry takes so much more; gives back what had to go for it.
    pub fn grow(&mut self, key: &K, bytes: u64) -> Vec<(K, V)> {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.bytes += bytes;
            self.bytes += bytes;
        }
        self.shrink()
    }

    fn shrink(&mut self) -> Vec<(K, V)> {
        let mut gone = Vec::new();
        while self.bytes > self.most && self.order.len() > 1 {
            let Some((_, key)) = self.order.pop_first() else { break };
            if let Some(entry) = self.entries.remove(&key) {
                self.bytes -= entry.bytes;
                gone.push((key, entry.value));
            }
        }
        gone
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let entry = self.entries.remove(key)?;
        self.order.remove(&entry.used);
        self.bytes -= entry.bytes;
        Some(entry.value)
    }

    /// Takes out what `goes`.
    pub fn remove_where(&mut self, goes: impl Fn(&K) -> bool) -> Vec<(K, V)> {
        let keys: Vec<K> = self.entries.keys().filter(|key| goes(key)).cloned().collect();
        keys.into_iter().filter_map(|key| self.remove(&key).map(|value| (key, value))).collect()
    }

    /// Keys with their values' sizes.
    pub fn sizes(&self) -> impl Iterator<Item = (&K, u64)> {
        self.entries.iter().map(|(key, entry)| (key, entry.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes() {
        let mut cache = Cache::new(10);
        assert!(cache.put("a", 1, 4).is_empty());
        assert!(cache.put("b", 2, 4).is_empty());
        assert_eq!(cache.get(&"a"), Some(&1));
        assert_eq!(cache.put("c", 3, 4), [("b", 2)]);
        assert_eq!(cache.grow(&"c", 3), [("a", 1)]);
        assert_eq!(cache.put("d", 4, 100), [("c", 3)], "the newest stays");
        assert_eq!(cache.get(&"d"), Some(&4));
        assert_eq!(cache.put("d", 5, 1), []);
        assert_eq!(cache.bytes, 1);
        assert_eq!(cache.remove(&"d"), Some(5));
        assert_eq!((cache.bytes, cache.order.len()), (0, 0));
    }
}
