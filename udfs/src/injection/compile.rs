//! Signatures to tables: done once for those that ship, and again for those that users add.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::OnceLock;

use foldhash::fast::FixedState;
use regex::bytes::{Regex, RegexBuilder};

use super::coverage::{Coverage, ItemClasses};
use super::fold::{Canon, fold, fold_ascii};
use super::lexicon::{Class, Lexicon};
use super::matcher::{Compiled, LazyRegex, Matcher, Target};
use super::pattern::{self, Item};
use super::rearrange;
use super::search::{Pattern, PatternItem, Patterns};
use super::signature::{Signature, SignatureError, SignatureFile};
use super::tokens::Canonical;
use super::verdict::Signals;

/// The files that ship.
const BUILTIN: [&str; 7] = [
    include_str!("../../signatures/vocabulary.toml"),
    include_str!("../../signatures/override.toml"),
    include_str!("../../signatures/jailbreak.toml"),
    include_str!("../../signatures/leak.toml"),
    include_str!("../../signatures/indirect.toml"),
    include_str!("../../signatures/evasion.toml"),
    include_str!("../../signatures/languages.toml"),
];

/// Words whose disguised forms give a text away that is written backwards or with other letters.
const TELLING: [&str; 14] = [
    "ignore",
    "previous",
    "instructions",
    "instruction",
    "prompt",
    "system",
    "forget",
    "disregard",
    "override",
    "reveal",
    "guidelines",
    "restrictions",
    "bypass",
    "rules",
];

/// Writes a word in disguise.
type Disguise = fn(&str) -> String;

/// The signatures that ship.
///
/// # Errors
/// If a file is not valid, which a test rules out.
pub(crate) fn builtin_file() -> Result<SignatureFile, SignatureError> {
    let mut all = SignatureFile::default();
    for toml in BUILTIN {
        all.merge(SignatureFile::parse(toml)?);
    }
    Ok(all)
}

/// Compiles the expression of a signature.
///
/// # Errors
/// If it is not valid or too large.
pub(crate) fn build_regex(source: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(source)
        .unicode(false)
        .size_limit(1 << 20)
        .build()
}

/// Classes by name, with their terms folded; words in patterns get classes of their own.
#[derive(Default)]
struct Classes {
    by_name: HashMap<String, Class, FixedState>,
    /// Classes of one term that is written out in a pattern.
    by_term: HashMap<String, Class, FixedState>,
    count: Class,
    /// The bytes of all terms.
    bytes: Vec<u8>,
    terms: Vec<Term>,
    canonical: Canonical,
    canon: Canon,
}

/// A term as it is looked for.
struct Term {
    bytes: std::ops::Range<usize>,
    class: Class,
    is_marker: bool,
}

impl Classes {
    fn add<'a>(&mut self, terms: impl Iterator<Item = &'a str>, coverage: &mut Coverage) -> Class {
        let class = self.count;
        self.count = self.count.saturating_add(1);
        let first = self.terms.len();
        for term in terms {
            if term.is_ascii() {
                fold_ascii(term, &mut self.canon);
            } else {
                fold(term, &mut self.canon, &mut Signals::default());
            }
            let is_marker = is_marker(&self.canon.text);
            let start = self.bytes.len();
            if is_marker {
                self.bytes.extend_from_slice(&self.canon.text);
            } else {
                self.bytes
                    .extend_from_slice(self.canonical.write(&self.canon));
            }
            self.terms.push(Term {
                bytes: start..self.bytes.len(),
                class,
                is_marker,
            });
        }
        coverage.class(
            self.terms[first..]
                .iter()
                .map(|term| (&self.bytes[term.bytes.clone()], term.is_marker)),
        );
        class
    }

    fn of_item(&mut self, item: &Item<'_>, coverage: &mut Coverage) -> Result<Vec<Class>, String> {
        let mut classes = Vec::with_capacity(item.classes.len() + item.terms.len());
        for name in &item.classes {
            let known = self.by_name.get(*name);
            classes.push(*known.ok_or_else(|| format!("class `{name}` is not defined"))?);
        }
        for term in &item.terms {
            let class = match self.by_term.get(&**term) {
                Some(class) => *class,
                None => {
                    let class = self.add(std::iter::once(&**term), coverage);
                    self.by_term.insert(term.to_string(), class);
                    class
                }
            };
            classes.push(class);
        }
        Ok(classes)
    }

    /// The terms that are markers, or those that are not, for a lexicon.
    fn terms(&self, markers: bool) -> Vec<(&[u8], Class)> {
        self.terms
            .iter()
            .filter(|term| term.is_marker == markers)
            .map(|term| (&self.bytes[term.bytes.clone()], term.class))
            .collect()
    }
}

/// The terms in a line of the vocabulary. A term that begins with punctuation may hold `|` itself and stands alone.
fn alternatives(line: &str) -> std::str::Split<'_, &str> {
    line.split(if is_marker(line.as_bytes()) {
        "\u{0}"
    } else {
        "|"
    })
}

fn is_marker(term: &[u8]) -> bool {
    term.first()
        .is_some_and(|byte| byte.is_ascii() && !byte.is_ascii_alphanumeric())
}

/// What a compilation has so far.
struct Compiler {
    classes: Classes,
    coverage: Coverage,
    patterns: Patterns,
    targets: Vec<Target>,
    open: Vec<u32>,
    regexes: Vec<LazyRegex>,
}

impl Compiler {
    fn new(
        class: &BTreeMap<String, Vec<String>>,
        frequency: BTreeMap<String, u32>,
        misspelt: Vec<String>,
    ) -> Self {
        let mut compiler = Self {
            classes: Classes::default(),
            coverage: Coverage::new(frequency, misspelt),
            patterns: Patterns::default(),
            targets: Vec::new(),
            open: Vec::new(),
            regexes: Vec::new(),
        };
        for (name, terms) in class {
            let terms = terms.iter().flat_map(|line| alternatives(line));
            let class = compiler.classes.add(terms, &mut compiler.coverage);
            compiler.classes.by_name.insert(name.clone(), class);
        }
        let disguises: [(Target, Disguise); 3] = [
            (Target::Reversed, |word| word.chars().rev().collect()),
            (Target::Rotated(13), |word| rotated(word, 13)),
            (Target::Rotated(26), |word| rotated(word, 26)),
        ];
        for (target, disguise) in disguises {
            let words: Vec<String> = TELLING.iter().map(|word| disguise(word)).collect();
            let number = compiler.targets.len() as u32;
            compiler
                .coverage
                .alone(words.iter().map(String::as_str), number);
            compiler.targets.push(target);
        }
        compiler
    }

    /// Compiles the patterns and expressions of the signature with number `index`.
    fn add(&mut self, index: u32, signature: &Signature) -> Result<(), String> {
        let unless = self.unless(signature)?;
        for pattern in &signature.patterns {
            let items = pattern::parse(pattern)?;
            let mut classes = Vec::with_capacity(items.len());
            for (item, optional) in &items {
                let of_item = self.classes.of_item(item, &mut self.coverage)?;
                classes.push((of_item, item.gap, *optional));
            }
            let first = self.patterns.all.len() as u32;
            for sequence in pattern::sequences(&items) {
                self.add_sequence(index, &sequence, &classes, unless.clone(), signature.after);
            }
            let range = first..self.patterns.all.len() as u32;
            if self.coverage.pattern(&classes, self.targets.len() as u32) {
                self.targets.push(Target::Patterns(range));
            } else {
                self.open.extend(range);
            }
        }
        for source in &signature.regex {
            build_regex_syntax(source)?;
            let words = signature.needs.iter().flat_map(|words| words.split('|'));
            self.coverage.alone(words, self.targets.len() as u32);
            self.targets.push(Target::Regex(self.regexes.len() as u32));
            self.regexes.push(LazyRegex {
                signature: index,
                source: source.clone(),
                compiled: OnceLock::new(),
            });
        }
        Ok(())
    }

    fn add_sequence(
        &mut self,
        signature: u32,
        sequence: &[(usize, u32)],
        classes: &[ItemClasses],
        unless: std::ops::Range<u32>,
        after: u32,
    ) {
        let patterns = &mut self.patterns;
        let first = patterns.items.len() as u32;
        for (item, gap) in sequence {
            let start = patterns.item_classes.len() as u32;
            patterns.item_classes.extend_from_slice(&classes[*item].0);
            patterns.items.push(PatternItem {
                classes: start..patterns.item_classes.len() as u32,
                gap: *gap,
            });
        }
        patterns.all.push(Pattern {
            signature,
            items: first..patterns.items.len() as u32,
            unless,
            after,
        });
    }

    /// The classes that speak against a signature.
    fn unless(&mut self, signature: &Signature) -> Result<std::ops::Range<u32>, String> {
        const USUAL: [&str; 2] = ["negation", "reported"];
        let start = self.patterns.unless.len() as u32;
        let known = |name: &str| self.classes.by_name.get(name).copied();
        match &signature.unless {
            // A file of signatures alone need not define the usual guards.
            None => self
                .patterns
                .unless
                .extend(USUAL.iter().filter_map(|name| known(name))),
            Some(names) => {
                for name in names {
                    let class =
                        known(name).ok_or_else(|| format!("class `{name}` is not defined"))?;
                    self.patterns.unless.push(class);
                }
            }
        }
        Ok(start..self.patterns.unless.len() as u32)
    }
}

impl Matcher {
    /// Compiles the signatures of `file`.
    ///
    /// # Errors
    /// [`SignatureError`] that names the signature.
    pub(crate) fn new(file: SignatureFile) -> Result<Self, SignatureError> {
        let mut compiler = Compiler::new(&file.class, file.frequency, file.misspelt.clone());
        let (mut signatures, mut signals) = (Vec::new(), Vec::new());
        let mut ids = HashSet::with_capacity(file.signature.len());
        for signature in &file.signature {
            let index = signatures.len() as u32;
            signature.check()?;
            let error = |message: String| SignatureError::of(&signature.id, message);
            if !ids.insert(signature.id.as_str()) {
                return Err(error("the id is used twice".to_owned()));
            }
            compiler.add(index, signature).map_err(error)?;
            if signature.signal.is_some() {
                signals.push(index);
            }
            signatures.push(signature.role_bits()?);
        }
        let Compiler {
            classes,
            mut coverage,
            mut patterns,
            targets,
            open,
            regexes,
        } = compiler;
        if classes.count == Class::MAX {
            return Err(SignatureError::of("vocabulary", "more than 65,000 classes"));
        }
        patterns.guards = vec![false; usize::from(classes.count)];
        for class in &patterns.unless {
            patterns.guards[usize::from(*class)] = true;
        }
        if coverage.is_too_large() {
            let message = "more than 60,000 words, or combinations of classes";
            return Err(SignatureError::of("vocabulary", message));
        }
        coverage.forgive_slips();
        let is_discount = |target: &u32| {
            match &targets[*target as usize] {
                Target::Patterns(range) => Some(patterns.all[range.start as usize].signature),
                Target::Regex(regex) => Some(regexes[*regex as usize].signature),
                Target::Reversed | Target::Rotated(_) => None,
            }
            .is_some_and(|signature| file.signature[signature as usize].weight < 0.0)
        };
        let stages = [false, true].map(|of| coverage.build(|target| is_discount(&target) == of));
        Ok(Self {
            lexicon: Lexicon::new(classes.terms(false), &file.misspelt),
            markers: Lexicon::new(classes.terms(true), &[]),
            stages,
            signatures: file
                .signature
                .into_iter()
                .zip(signatures)
                .map(|(signature, roles)| Compiled { signature, roles })
                .collect(),
            patterns,
            targets,
            open,
            regexes,
            signals,
        })
    }
}

/// A cheap check: full compilation waits until the expression is needed.
fn build_regex_syntax(source: &str) -> Result<(), String> {
    regex_automata::util::syntax::parse_with(
        source,
        &regex_automata::util::syntax::Config::new()
            .unicode(false)
            .utf8(false),
    )
    .map(|_| ())
    .map_err(|error| error.to_string())
}

fn rotated(word: &str, shift: u8) -> String {
    let (mut plain, mut out) = (Canon::default(), Canon::default());
    fold_ascii(word, &mut plain);
    rearrange::rotate(&plain, &mut out, shift);
    String::from_utf8_lossy(&out.text).into_owned()
}

/// A matcher of one pattern.
#[cfg(test)]
pub(super) fn matcher_of(pattern: &str) -> Matcher {
    let toml = format!(
        "[[signature]]\nid = \"a\"\ncategory = \"a\"\nweight = 0.9\natlas = \"a\"\npatterns = ['{pattern}']"
    );
    Matcher::from_toml(&toml).expect("a valid pattern")
}
