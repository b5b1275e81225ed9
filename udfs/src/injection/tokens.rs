//! Cuts a folded text into words and finds the vocabulary in them.
//!
//! A word is a run of letters and digits. Apostrophes, asterisks and HTML comments inside a word are skipped (`don't`, `**ig**nore`,
//! `ig<!-- -->nore`). In scripts that put no blanks between words every character is a word of its own. Sentence ends widen the
//! distance between words, so that gaps seldom reach over them.

use std::ops::Range;

use super::fold::Canon;
use super::lexicon::{Class, Lexicon};
use super::pattern::SENTENCE;

/// One word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    /// Where it begins in [`Words::text`].
    start: u32,
    /// Its bytes in the folded text.
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// Its number, with sentence ends counted in.
    pub(crate) position: u32,
}

/// A vocabulary term found: a class, and the tokens it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) class: Class,
    pub(crate) first: u32,
    pub(crate) last: u32,
}

/// The words of a text, with single spaces between.
#[derive(Debug, Default)]
pub(crate) struct Words {
    text: Vec<u8>,
    pub(crate) tokens: Vec<Token>,
    /// Terms that begin with punctuation, found while cutting.
    markers: Vec<Event>,
}

/// What a byte or character is to the cutter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Letter,
    /// A word of its own.
    Sign,
    Other,
}

fn sort(letter: char) -> Sort {
    match u32::from(letter) {
        0xE00..=0xEFF
        | 0x1000..=0x109F
        | 0x1780..=0x17FF
        | 0x3040..=0x30FF
        | 0x3400..=0x4DBF
        | 0x4E00..=0x9FFF
        | 0xF900..=0xFAFF
        | 0x20000..=0x323AF => Sort::Sign,
        // Vowel signs and viramas belong to the word; dandas end sentences.
        0x964..=0x965 => Sort::Other,
        0x900..=0xDFF => Sort::Letter,
        _ if letter.is_alphanumeric() => Sort::Letter,
        _ => Sort::Other,
    }
}

impl Words {
    /// Cuts a part of `canon` into words; `markers` finds terms that begin with punctuation. The last word is read to its end.
    pub(crate) fn cut(&mut self, canon: &Canon, part: Range<usize>, markers: &Lexicon) {
        self.text.clear();
        self.tokens.clear();
        self.markers.clear();
        let bytes = canon.text.as_slice();
        let mut at = part.start;
        let mut position = 0;
        while at < part.end {
            let (sort, width) = sort_at(bytes, at);
            match sort {
                Sort::Letter => {
                    at = self.word(bytes, at, position);
                    position += 1;
                }
                Sort::Sign => {
                    self.start_token(at, at + width, position);
                    self.text.extend_from_slice(&bytes[at..at + width]);
                    position += 1;
                    at += width;
                }
                Sort::Other => {
                    position += self.separator(bytes, at, position, markers);
                    at += width;
                }
            }
        }
    }

    fn start_token(&mut self, from: usize, to: usize, position: u32) {
        if !self.text.is_empty() && self.text.last() != Some(&b' ') {
            self.text.push(b' ');
        }
        self.tokens.push(Token {
            start: self.text.len() as u32,
            from: from as u32,
            to: to as u32,
            position,
        });
    }

    fn word(&mut self, bytes: &[u8], from: usize, position: u32) -> usize {
        self.start_token(from, from, position);
        let mut at = from;
        loop {
            let start = at;
            while at < bytes.len() {
                if bytes[at].is_ascii_alphanumeric() {
                    at += 1;
                } else if bytes[at].is_ascii() {
                    break;
                } else {
                    let (sort, width) = sort_at(bytes, at);
                    if sort != Sort::Letter {
                        break;
                    }
                    at += width;
                }
            }
            self.text.extend_from_slice(&bytes[start..at]);
            match joint(bytes, at) {
                Some(next) => at = next,
                None => break,
            }
        }
        if let Some(token) = self.tokens.last_mut() {
            token.to = at as u32;
        }
        at
    }

    /// Looks at a separator; gives by how many words it widens the distance.
    fn separator(&mut self, bytes: &[u8], at: usize, position: u32, markers: &Lexicon) -> u32 {
        if bytes[at] == b' ' {
            return 0;
        }
        if !bytes[at].is_ascii_whitespace() {
            let next = self.tokens.len() as u32;
            if let Some((_, classes)) = markers.longest(bytes, at, 1) {
                self.markers.extend(classes.iter().map(|class| Event {
                    class: *class,
                    first: next,
                    last: next,
                }));
                // The marker takes a place between the words, so that items can follow it.
                if !self.text.is_empty() && self.text.last() != Some(&b' ') {
                    self.text.push(b' ');
                }
                self.tokens.push(Token {
                    start: self.text.len() as u32,
                    from: at as u32,
                    to: at as u32 + 1,
                    position,
                });
                return 1;
            }
            // Inside `<!--` and the like a mark ends no sentence.
            if bytes
                .get(at + 1)
                .is_some_and(|next| matches!(next, b'-' | b'['))
            {
                return 0;
            }
        }
        if ends_sentence(bytes, at) {
            SENTENCE
        } else {
            0
        }
    }

    /// Calls `found` for each vocabulary term, in the order of their first words.
    pub(crate) fn events(&self, lexicon: &Lexicon, mut found: impl FnMut(Event)) {
        let mut markers = self.markers.iter().peekable();
        for (index, token) in self.tokens.iter().enumerate() {
            let index = index as u32;
            while let Some(marker) = markers.next_if(|marker| marker.first <= index) {
                found(*marker);
            }
            let start = token.start as usize;
            let end = self
                .tokens
                .get(index as usize + 1)
                .map_or(self.text.len(), |next| next.start as usize);
            if end == start {
                continue;
            }
            let word = self.text[start..end].trim_ascii_end();
            let exact = lexicon.walk(&self.text, start, |class, term_end| {
                let last = if term_end <= end {
                    index
                } else {
                    index
                        + self.text[end..term_end]
                            .iter()
                            .filter(|byte| **byte == b' ')
                            .count() as u32
                        + 1
                };
                found(Event {
                    class,
                    first: index,
                    last,
                });
            });
            if !exact {
                guess(lexicon, index, word, &mut found);
            }
        }
    }
}

/// Finds the term that a word may be a misspelling of.
fn guess(lexicon: &Lexicon, index: u32, word: &[u8], found: &mut impl FnMut(Event)) {
    for class in lexicon.guess(word) {
        found(Event {
            class: *class,
            first: index,
            last: index,
        });
    }
}

pub(crate) fn sort_at(bytes: &[u8], at: usize) -> (Sort, usize) {
    let byte = bytes[at];
    if byte.is_ascii() {
        return (
            if byte.is_ascii_alphanumeric() {
                Sort::Letter
            } else {
                Sort::Other
            },
            1,
        );
    }
    // Ideographs U+5000 to U+9FFF: most of the text that is not ASCII and not letters with blanks between.
    if matches!(byte, 0xE5..=0xE9) {
        return (Sort::Sign, 3);
    }
    let width = match byte {
        0xF0.. => 4,
        0xE0.. => 3,
        _ => 2,
    };
    let letter = bytes
        .get(at..at + width)
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .and_then(|text| text.chars().next());
    letter.map_or((Sort::Other, 1), |letter| (sort(letter), width))
}

/// Where the word goes on behind signs that do not end it.
pub(crate) fn joint(bytes: &[u8], at: usize) -> Option<usize> {
    let next = match bytes.get(at)? {
        b'\'' | b'`' => at + 1,
        b'*' => {
            at + bytes[at..]
                .iter()
                .take(4)
                .take_while(|byte| **byte == b'*')
                .count()
        }
        b'<' if bytes[at..].starts_with(b"<!--") => {
            let window = &bytes[at..bytes.len().min(at + 64)];
            at + window.windows(3).position(|three| three == b"-->")? + 3
        }
        _ => return None,
    };
    bytes
        .get(next)
        .is_some_and(u8::is_ascii_alphanumeric)
        .then_some(next)
}

fn ends_sentence(bytes: &[u8], at: usize) -> bool {
    match bytes[at] {
        b' ' | b',' => false,
        b'!' | b'?' | b';' => true,
        b'.' => bytes.get(at + 1).is_none_or(|next| {
            next.is_ascii_whitespace() || matches!(next, b'"' | b'\'' | b')' | b']' | b'<')
        }),
        b'\n' => bytes.get(at + 1) == Some(&b'\n'),
        sign if sign.is_ascii() => false,
        _ => ["。", "！", "？", "．", "।", "؟", "۔"]
            .iter()
            .any(|mark| bytes[at..].starts_with(mark.as_bytes())),
    }
}

/// Writes terms as [`Words`] writes texts: the words with single spaces, a final `*` kept.
#[derive(Debug, Default)]
pub(crate) struct Canonical {
    words: Words,
    none: Lexicon,
}

impl Canonical {
    /// The words of a folded term.
    pub(crate) fn write(&mut self, term: &Canon) -> &[u8] {
        self.words.cut(term, 0..term.text.len(), &self.none);
        if term.text.ends_with(b"*") {
            self.words.text.push(b'*');
        }
        &self.words.text
    }
}

#[cfg(test)]
mod tests {
    use super::super::fold::fold;
    use super::super::verdict::Signals;
    use super::*;

    fn cut(text: &str) -> Words {
        let mut canon = Canon::default();
        fold(text, &mut canon, &mut Signals::default());
        let mut words = Words::default();
        words.cut(
            &canon,
            0..canon.text.len(),
            &Lexicon::new(vec![(b"<!--", 9)], &[]),
        );
        words
    }

    #[test]
    fn signs_inside_a_word_do_not_end_it() {
        assert_eq!(
            cut("Don't **ig**nore, ig<!-- x -->nore_it").text,
            b"dont ignore ignore it"
        );
    }

    #[test]
    fn sentence_ends_widen_the_distance_and_dots_inside_words_do_not() {
        let positions: Vec<u32> = cut("Stop. Go to evil.com now")
            .tokens
            .iter()
            .map(|token| token.position)
            .collect();
        assert_eq!(positions, [0, 9, 10, 11, 12, 13]);
    }

    #[test]
    fn characters_of_unspaced_scripts_are_words() {
        assert_eq!(cut("忽略ok").text, "忽 略 ok".as_bytes());
    }

    #[test]
    fn a_marker_takes_a_place_of_its_own() {
        let words = cut("a <!-- b");
        assert_eq!(
            words
                .tokens
                .iter()
                .map(|token| token.position)
                .collect::<Vec<_>>(),
            [0, 1, 2]
        );
        assert_eq!(
            words.markers,
            [Event {
                class: 9,
                first: 1,
                last: 1
            }]
        );
    }

    #[test]
    fn terms_of_two_words_cover_two_tokens() {
        let lexicon = Lexicon::new(vec![(b"system prompt", 3)], &[]);
        let mut events = Vec::new();
        cut("my system  prompt").events(&lexicon, |event| events.push(event));
        assert_eq!(
            events,
            [Event {
                class: 3,
                first: 1,
                last: 2
            }]
        );
    }
}
