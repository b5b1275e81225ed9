//! Personal data and secrets in text: found, counted by kind, and replaced.
//!
//! [`scan`] names the kinds and places, [`redact`] writes the text with a fixed [marker](Kind::marker) in each place,
//! [`redact_checked`] does so and fails rather than let anything through. A marker never holds a part of what it
//! replaces, and no marker is itself a finding, so redacting twice changes nothing.
//!
//! **Disguises.** Before the detectors look, characters that only look different are read as what they mean: full-width
//! and other scripts' digits, Unicode dashes and spaces, zero-width characters, `%40`, `\u0040`, `&#64;`. The text
//! itself is searched too, so that undoing a disguise cannot hide anything.
//!
//! **Precision.** Formats with a check digit or a fixed prefix are taken as they stand. Digits without one (bare ten-digit
//! numbers, nine-digit numbers) and values without a known prefix count only beside a word that says what they are. Order
//! numbers, UUIDs, timestamps, hashes, addresses, versions and ISBNs are therefore left alone.
//!
//! **Left out**: names, postal addresses, dates of birth, passwords of low entropy; they need more than a pattern.
//!
//! **Cost.** Each detector has a gate (`memchr`, a count of digits, runs too long for words) that clean text rarely
//! opens, and each is linear in the text whatever the text is. A [`Scratch`] is reused between texts.

mod assignment;
mod card;
mod email;
mod fold;
mod iban;
mod key;
mod number;
mod phone;

use std::fmt;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Anthropic, `sk-ant-`.
    AnthropicKey,
    /// `api_key=...`, `client_secret: "..."` and the like with a value of high entropy, and keys of smaller vendors.
    ApiKey,
    /// AWS access key id, `AKIA` and `ASIA`.
    AwsAccessKey,
    /// AWS secret access key, by its name or beside an access key id.
    AwsSecretKey,
    /// Azure storage, Service Bus, Cognitive Services and OpenAI keys, by their name or signature.
    AzureKey,
    /// `Bearer` and a token.
    BearerToken,
    /// E-mail address.
    Email,
    /// Google API keys, OAuth client secrets and access tokens.
    GcpApiKey,
    /// GitHub, `ghp_` and its siblings.
    GithubToken,
    /// Hugging Face, `hf_`.
    HuggingfaceToken,
    /// International bank account number with valid check digits.
    Iban,
    /// JSON Web Token.
    Jwt,
    /// OpenAI and compatible, `sk-`.
    OpenaiKey,
    /// Payment card number of a known issuer with a valid check digit.
    PaymentCard,
    /// Telephone number.
    Phone,
    /// PEM block of a private key.
    PrivateKey,
    /// Slack, `xoxb-` and its siblings.
    SlackToken,
    /// United States social security or individual taxpayer number.
    Ssn,
    /// Stripe, `sk_live_` and its siblings.
    StripeKey,
}

impl Kind {
    /// All kinds, in the order of their names.
    pub const ALL: [Self; 19] = [
        Self::AnthropicKey,
        Self::ApiKey,
        Self::AwsAccessKey,
        Self::AwsSecretKey,
        Self::AzureKey,
        Self::BearerToken,
        Self::Email,
        Self::GcpApiKey,
        Self::GithubToken,
        Self::HuggingfaceToken,
        Self::Iban,
        Self::Jwt,
        Self::OpenaiKey,
        Self::PaymentCard,
        Self::Phone,
        Self::PrivateKey,
        Self::SlackToken,
        Self::Ssn,
        Self::StripeKey,
    ];

    /// The name in SQL and in counts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AnthropicKey => "anthropic_key",
            Self::ApiKey => "api_key",
            Self::AwsAccessKey => "aws_access_key",
            Self::AwsSecretKey => "aws_secret_key",
            Self::AzureKey => "azure_key",
            Self::BearerToken => "bearer_token",
            Self::Email => "email",
            Self::GcpApiKey => "gcp_api_key",
            Self::GithubToken => "github_token",
            Self::HuggingfaceToken => "huggingface_token",
            Self::Iban => "iban",
            Self::Jwt => "jwt",
            Self::OpenaiKey => "openai_key",
            Self::PaymentCard => "payment_card",
            Self::Phone => "phone",
            Self::PrivateKey => "private_key",
            Self::SlackToken => "slack_token",
            Self::Ssn => "ssn",
            Self::StripeKey => "stripe_key",
        }
    }

    /// What stands in its place after redaction.
    pub const fn marker(self) -> &'static str {
        match self {
            Self::AnthropicKey => "[API_KEY:anthropic]",
            Self::ApiKey => "[API_KEY]",
            Self::AwsAccessKey => "[API_KEY:aws]",
            Self::AwsSecretKey => "[API_KEY:aws_secret]",
            Self::AzureKey => "[API_KEY:azure]",
            Self::BearerToken => "[BEARER_TOKEN]",
            Self::Email => "[EMAIL]",
            Self::GcpApiKey => "[API_KEY:gcp]",
            Self::GithubToken => "[API_KEY:github]",
            Self::HuggingfaceToken => "[API_KEY:huggingface]",
            Self::Iban => "[IBAN]",
            Self::Jwt => "[JWT]",
            Self::OpenaiKey => "[API_KEY:openai]",
            Self::PaymentCard => "[PAYMENT_CARD]",
            Self::Phone => "[PHONE]",
            Self::PrivateKey => "[PRIVATE_KEY]",
            Self::SlackToken => "[API_KEY:slack]",
            Self::Ssn => "[SSN]",
            Self::StripeKey => "[API_KEY:stripe]",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One place in a text: bytes `start..end`, both at character boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// Findings in the order of the text, none overlapping another.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// The findings as a slice.
    pub fn as_slice(&self) -> &[Finding] {
        &self.0
    }

    /// True when nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many of each kind.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for finding in &self.0 {
            counts.add(finding.kind);
        }
        counts
    }

    /// Sorts, and joins what overlaps: the longer of two overlapping findings gives its kind, the union its place.
    fn settle(&mut self) {
        let findings = &mut self.0;
        if findings.len() < 2 {
            return;
        }
        findings.sort_unstable_by_key(|finding| {
            (finding.start, usize::MAX - finding.end, finding.kind)
        });
        // The length of the piece that gave the kind, which the union may exceed.
        let mut kind_length = findings[0].end - findings[0].start;
        let mut kept = 0;
        for next in 1..findings.len() {
            let finding = findings[next];
            let length = finding.end - finding.start;
            let last = &mut findings[kept];
            if finding.start < last.end {
                last.end = last.end.max(finding.end);
                if length > kind_length {
                    last.kind = finding.kind;
                    kind_length = length;
                }
            } else {
                kept += 1;
                findings[kept] = finding;
                kind_length = length;
            }
        }
        findings.truncate(kept + 1);
    }
}

/// How many findings of each kind.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts([u32; Kind::ALL.len()]);

impl Counts {
    /// The count of one kind.
    pub const fn get(&self, kind: Kind) -> u32 {
        self.0[kind as usize]
    }

    /// All findings together.
    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }

    /// The kinds that occur with their counts, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, u32)> {
        Kind::ALL
            .into_iter()
            .map(|kind| (kind, self.get(kind)))
            .filter(|&(_, count)| count > 0)
    }

    fn add(&mut self, kind: Kind) {
        self.0[kind as usize] = self.0[kind as usize].saturating_add(1);
    }

    fn add_all(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count = count.saturating_add(more);
        }
    }
}

/// Buffers that scanning reuses from text to text. One per thread.
#[derive(Debug, Default)]
pub struct Scratch {
    findings: Findings,
    folded: fold::Folded,
    groups: Vec<number::Group>,
    /// The text between two rounds of redaction.
    round: String,
}

/// The text still held something after redaction, so no form of it may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unredactable;

impl fmt::Display for Unredactable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text could not be redacted")
    }
}

impl std::error::Error for Unredactable {}

/// Finds personal data and secrets in `text`.
///
/// ```
/// use inferwatch_udfs::pii::{self, Kind, Scratch};
///
/// let mut scratch = Scratch::default();
/// let found = pii::scan("ask ada@example.org, card 4111 1111 1111 1111", &mut scratch);
/// let kinds: Vec<Kind> = found.as_slice().iter().map(|finding| finding.kind).collect();
/// assert_eq!(kinds, [Kind::Email, Kind::PaymentCard]);
/// ```
pub fn scan<'a>(text: &str, scratch: &'a mut Scratch) -> &'a Findings {
    scratch.findings.0.clear();
    detect(
        text.as_bytes(),
        &mut scratch.groups,
        &mut scratch.findings.0,
    );
    if scratch.folded.fold(text) {
        let found_as_written = scratch.findings.0.len();
        detect(
            scratch.folded.bytes(),
            &mut scratch.groups,
            &mut scratch.findings.0,
        );
        for finding in &mut scratch.findings.0[found_as_written..] {
            (finding.start, finding.end) = scratch.folded.original(finding.start, finding.end);
        }
    }
    scratch.findings.settle();
    &scratch.findings
}

/// Runs every detector. Bytes rather than `str`: all that is looked for is ASCII, save letters of e-mail addresses.
fn detect(text: &[u8], groups: &mut Vec<number::Group>, out: &mut Vec<Finding>) {
    email::find(text, out);
    number::find(text, groups, out);
    key::find(text, out);
    assignment::find(text, out);
}

/// A round of redaction may bring two halves of a secret together; so many rounds are tried.
const ROUNDS: usize = 8;

/// Writes `text` into `out` (cleared first) with every finding replaced by its marker, and counts what was replaced.
///
/// The result is searched again until nothing is found. Text that stays unclean is replaced as a whole by
/// `[UNREDACTABLE]`; use [`redact_checked`] to be told so instead.
///
/// ```
/// use inferwatch_udfs::pii::{self, Kind, Scratch};
///
/// let (mut scratch, mut out) = (Scratch::default(), String::new());
/// let counts = pii::redact("mail ada@example.org or call +44 20 7946 0958", &mut scratch, &mut out);
/// assert_eq!(out, "mail [EMAIL] or call [PHONE]");
/// assert_eq!(counts.get(Kind::Email), 1);
/// ```
pub fn redact(text: &str, scratch: &mut Scratch, out: &mut String) -> Counts {
    let (counts, clean) = redact_rounds(text, scratch, out);
    if !clean {
        out.clear();
        out.push_str("[UNREDACTABLE]");
    }
    counts
}

/// As [`redact`], but fails when the result still holds a finding. `out` is empty then.
///
/// # Errors
///
/// [`Unredactable`]: the text must not be written anywhere.
pub fn redact_checked(
    text: &str,
    scratch: &mut Scratch,
    out: &mut String,
) -> Result<Counts, Unredactable> {
    let (counts, clean) = redact_rounds(text, scratch, out);
    if clean {
        Ok(counts)
    } else {
        out.clear();
        Err(Unredactable)
    }
}

/// Redacts until a scan of the result finds nothing, which is what the second value says.
fn redact_rounds(text: &str, scratch: &mut Scratch, out: &mut String) -> (Counts, bool) {
    out.clear();
    let mut counts = Counts::default();
    if scan(text, scratch).is_empty() {
        out.push_str(text);
        return (counts, true);
    }
    replace(text, &scratch.findings, out);
    counts.add_all(&scratch.findings.counts());
    for _ in 1..ROUNDS {
        if scan(out, scratch).is_empty() {
            return (counts, true);
        }
        let mut next = std::mem::take(&mut scratch.round);
        next.clear();
        replace(out, &scratch.findings, &mut next);
        counts.add_all(&scratch.findings.counts());
        std::mem::swap(out, &mut next);
        scratch.round = next;
    }
    let clean = scan(out, scratch).is_empty();
    (counts, clean)
}

fn replace(text: &str, findings: &Findings, out: &mut String) {
    let mut written = 0;
    for finding in findings.as_slice() {
        out.push_str(&text[written..finding.start]);
        out.push_str(finding.kind.marker());
        written = finding.end;
    }
    out.push_str(&text[written..]);
}

/// The byte at `place`, 0 outside the text.
fn at(text: &[u8], place: usize) -> u8 {
    text.get(place).copied().unwrap_or(0)
}

/// The byte before `place`, 0 at the start of the text.
fn before(text: &[u8], place: usize) -> u8 {
    if place == 0 { 0 } else { at(text, place - 1) }
}

/// How many bytes from `start` on satisfy `accept`.
fn run(text: &[u8], start: usize, accept: impl Fn(u8) -> bool) -> usize {
    text[start.min(text.len())..]
        .iter()
        .take_while(|&&byte| accept(byte))
        .count()
}

/// Shannon entropy of bytes, bits per byte. For candidates that passed every cheaper test.
fn byte_entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for &byte in bytes {
        counts[usize::from(byte)] += 1;
    }
    let total = bytes.len() as f64;
    let part = |&count: &u32| {
        if count == 0 {
            0.0
        } else {
            -f64::from(count) / total * (f64::from(count) / total).log2()
        }
    };
    counts.iter().map(part).sum()
}

#[cfg(test)]
mod tests;
