//! Stage two: words, vocabulary and patterns of a part of a text.
//!
//! [`Search::read`] cuts the part into words and finds in them the classes that the patterns in question wait for; [`Search::find`]
//! advances a pattern over them, with one slot per item: time is linear in the text whatever it holds.

use std::ops::Range;

use super::fold::Canon;
use super::lexicon::{Class, Lexicon};
use super::tokens::{Event, Words};

/// All patterns, in flat arrays.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    pub(crate) all: Vec<Pattern>,
    pub(crate) items: Vec<PatternItem>,
    pub(crate) item_classes: Vec<Class>,
    /// Classes that turn a match behind them into talk about it.
    pub(crate) unless: Vec<Class>,
    /// Whether a class is one of them, for each class.
    pub(crate) guards: Vec<bool>,
}

/// A sequence of items.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) signature: u32,
    pub(crate) items: Range<u32>,
    pub(crate) unless: Range<u32>,
    /// Words that must precede a match.
    pub(crate) after: u32,
}

/// Any of some classes, at most `gap` words after the item before.
#[derive(Debug)]
pub(crate) struct PatternItem {
    pub(crate) classes: Range<u32>,
    pub(crate) gap: u32,
}

impl Patterns {
    fn items(&self, pattern: &Pattern) -> &[PatternItem] {
        &self.items[pattern.items.start as usize..pattern.items.end as usize]
    }

    fn classes(&self, item: &PatternItem) -> &[Class] {
        &self.item_classes[item.classes.start as usize..item.classes.end as usize]
    }
}

/// What was read, kept from one text to the next for its memory.
#[derive(Debug, Default)]
pub(crate) struct Search {
    words: Words,
    events: Vec<Event>,
    /// For each class its first and last event, `NONE` if there is none.
    heads: Vec<(u32, u32)>,
    /// For each event the next one of its class.
    next: Vec<u32>,
    guards: Vec<(Class, u32)>,
    /// For each class the number of the last reading that wanted it.
    wanted: Vec<u32>,
    reading: u32,
    /// Words of the text before the part that was read.
    skipped: u32,
    queue: Vec<(u32, u32, u32)>,
    states: Vec<State>,
}

/// How far a pattern has come: its item ended at `position`, and the match began at token `first`.
#[derive(Debug, Default, Clone, Copy)]
struct State {
    reached: bool,
    position: u32,
    first: u32,
}

/// No such event.
const NONE: u32 = u32::MAX;

/// A class this many words before a match speaks about it.
pub(crate) const GUARD_REACH: u32 = 5;

impl Search {
    /// Reads a part of `canon`, which begins with a word and is preceded by `skipped` words, for the patterns in `live`.
    pub(crate) fn read(
        &mut self,
        patterns: &Patterns,
        lexicons: (&Lexicon, &Lexicon),
        canon: &Canon,
        part: Range<usize>,
        skipped: u32,
        live: &[u32],
    ) {
        let classes = patterns.guards.len();
        self.skipped = skipped;
        self.wanted.resize(classes, 0);
        self.reading = self.reading.wrapping_add(1);
        if self.reading == 0 {
            self.wanted.fill(0);
            self.reading = 1;
        }
        for pattern in live {
            for item in patterns.items(&patterns.all[*pattern as usize]) {
                for class in patterns.classes(item) {
                    self.wanted[usize::from(*class)] = self.reading;
                }
            }
        }
        let Self {
            words,
            events,
            heads,
            next,
            guards,
            wanted,
            reading,
            ..
        } = self;
        words.cut(canon, part, lexicons.1);
        // Only what the text before has touched is reset.
        for event in events.drain(..) {
            heads[usize::from(event.class)] = (NONE, NONE);
        }
        heads.resize(classes, (NONE, NONE));
        next.clear();
        guards.clear();
        words.events(lexicons.0, |mut event| {
            let is_guard = patterns.guards[usize::from(event.class)];
            if !is_guard && wanted[usize::from(event.class)] != *reading {
                return;
            }
            event.last = event.last.min(words.tokens.len() as u32 - 1);
            if is_guard {
                guards.push((event.class, words.tokens[event.last as usize].position));
            }
            let index = events.len() as u32;
            let (head, tail) = &mut heads[usize::from(event.class)];
            match *tail {
                NONE => *head = index,
                before => next[before as usize] = index,
            }
            *tail = index;
            next.push(NONE);
            events.push(event);
        });
    }

    /// Finds the items of `pattern` in order; gives the bytes of the first match that nothing speaks against.
    pub(crate) fn find(&mut self, patterns: &Patterns, pattern: &Pattern) -> Option<Range<usize>> {
        let items = patterns.items(pattern);
        let classes = |item: &PatternItem| patterns.classes(item);
        if !items.iter().all(|item| {
            classes(item)
                .iter()
                .any(|class| self.heads[usize::from(*class)].0 != NONE)
        }) {
            return None;
        }
        self.queue.clear();
        for (at, item) in items.iter().enumerate() {
            for class in classes(item) {
                let mut index = self.heads[usize::from(*class)].0;
                while index != NONE {
                    let event = self.events[index as usize];
                    // One word serves one item: later items look before earlier ones move on.
                    self.queue
                        .push((event.first, (items.len() - at) as u32, event.last));
                    index = self.next[index as usize];
                }
            }
        }
        self.queue.sort_unstable();
        self.states.clear();
        self.states.resize(items.len(), State::default());
        for (first, from_end, last) in &self.queue {
            let at = items.len() - *from_end as usize;
            let began = if at == 0 {
                *first
            } else {
                let before = self.states[at - 1];
                let position = self.words.tokens[*first as usize].position;
                if !before.reached
                    || position <= before.position
                    || position - before.position - 1 > items[at].gap
                {
                    continue;
                }
                before.first
            };
            if at + 1 < items.len() {
                self.states[at] = State {
                    reached: true,
                    position: self.words.tokens[*last as usize].position,
                    first: began,
                };
            } else if began + self.skipped >= pattern.after
                && !is_guarded(
                    &self.guards,
                    &patterns.unless[pattern.unless.start as usize..pattern.unless.end as usize],
                    self.words.tokens[began as usize].position,
                )
            {
                let tokens = &self.words.tokens;
                return Some(
                    tokens[began as usize].from as usize..tokens[*last as usize].to as usize,
                );
            }
        }
        None
    }
}

/// Whether words shortly before `start` turn the match into talk about it. `guards` are in the order of their beginnings, and terms are
/// short, so a little beyond the reach is looked at.
fn is_guarded(guards: &[(Class, u32)], unless: &[Class], start: u32) -> bool {
    let near = guards.partition_point(|(_, end)| *end + GUARD_REACH < start);
    guards[near..]
        .iter()
        .take_while(|(_, end)| *end < start + GUARD_REACH)
        .any(|(class, end)| *end < start && unless.contains(class))
}
