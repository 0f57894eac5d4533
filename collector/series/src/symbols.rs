//! Interned strings: a label's name or value is kept once and named by a number.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// Names an interned string.
pub(crate) type Symbol = u32;

#[derive(Debug, Default)]
pub(crate) struct Symbols {
    texts: Vec<Box<str>>,
    /// How often each is in use; an unused one's place is in `free`.
    uses: Vec<u32>,
    free: Vec<Symbol>,
    /// Of all texts.
    bytes: usize,
    table: HashTable<Symbol>,
    hasher: DefaultHashBuilder,
}

impl Symbols {
    /// The string's number, if it has one.
    pub(crate) fn get(&self, text: &str) -> Option<Symbol> {
        let hash = self.hasher.hash_one(text);
        self.table.find(hash, |at| *self.texts[*at as usize] == *text).copied()
    }

    /// The string's number, a new one if need be; [`Self::release`] it as often.
    pub(crate) fn intern(&mut self, text: &str) -> Symbol {
        if let Some(symbol) = self.get(text) {
            self.uses[symbol as usize] += 1;
            return symbol;
        }
        self.bytes += text.len();
        let symbol = match self.free.pop() {
            Some(symbol) => {
                self.texts[symbol as usize] = text.into();
                self.uses[symbol as usize] = 1;
                symbol
            }
            None => {
                self.texts.push(text.into());
                self.uses.push(1);
                (self.texts.len() - 1) as Symbol
            }
        };
        let (texts, hasher) = (&self.texts, &self.hasher);
        let hash = hasher.hash_one(text);
        self.table.insert_unique(hash, symbol, |at| hasher.hash_one(&*texts[*at as usize]));
        symbol
    }

    /// Gives a use back.
    pub(crate) fn release(&mut self, symbol: Symbol) {
        let uses = &mut self.uses[symbol as usize];
        *uses -= 1;
        if *uses > 0 {
            return;
        }
        let text = std::mem::take(&mut self.texts[symbol as usize]);
        self.bytes -= text.len();
        let hash = self.hasher.hash_one(&*text);
        if let Ok(entry) = self.table.find_entry(hash, |at| *at == symbol) {
            entry.remove();
        }
        self.free.push(symbol);
    }

    /// The string.
    pub(crate) fn text(&self, symbol: Symbol) -> &str {
        &self.texts[symbol as usize]
    }

    /// Bytes of all strings together.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_and_gone_when_unused() {
        let mut symbols = Symbols::default();
        let a = symbols.intern("a");
        let b = symbols.intern("b");
        assert_eq!((symbols.intern("a"), symbols.text(b)), (a, "b"));
        symbols.release(a);
        assert_eq!(symbols.get("a"), Some(a));
        symbols.release(a);
        assert_eq!((symbols.get("a"), symbols.len(), symbols.bytes()), (None, 1, 1));
        assert_eq!(symbols.intern("c"), a);
        for n in 0..1000 {
            symbols.intern(&n.to_string());
        }
        assert_eq!((symbols.get("b"), symbols.get("c")), (Some(b), Some(a)));
    }
}
