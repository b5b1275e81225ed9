//! Secrets that show what they are: keys with a fixed prefix, JSON Web Tokens, bearer tokens, PEM private keys.
//!
//! One packed search finds all fixed parts at once; what stands around a hit decides. The prefixes and lengths are those
//! that the vendors publish for secret scanning.

use std::sync::LazyLock;

use aho_corasick::packed::{self, MatchKind, Searcher};
use aho_corasick::{AhoCorasick, Match};
use memchr::memmem;

use super::{Finding, Kind, at, before, byte_entropy, run};

/// How a hit of a stem is judged.
#[derive(Clone, Copy)]
enum Shape {
    /// Stem, then characters of a set, at least and at most so many (more than the most: not a key).
    Prefix(Kind, fn(u8) -> bool, usize, usize),
    /// `sk-`: OpenAI, Anthropic and those that copied them.
    Sk,
    /// `_live_` and `_test_` after `sk` or `rk`.
    Stripe,
    /// `JQQJ99` in the middle of an Azure key of 84 characters.
    AzureSignature,
    Jwt,
    Bearer,
    Pem,
}

/// Not more than about two dozen, none shorter than three bytes: beyond that the packed search is several times slower.
const STEMS: [(&str, Shape); 27] = [
    ("AKIA", Shape::Prefix(Kind::AwsAccessKey, is_upper, 16, 16)),
    ("ASIA", Shape::Prefix(Kind::AwsAccessKey, is_upper, 16, 16)),
    ("ABIA", Shape::Prefix(Kind::AwsAccessKey, is_upper, 16, 16)),
    ("ACCA", Shape::Prefix(Kind::AwsAccessKey, is_upper, 16, 16)),
    ("AIza", Shape::Prefix(Kind::GcpApiKey, is_token, 35, 35)),
    ("GOCSPX-", Shape::Prefix(Kind::GcpApiKey, is_token, 20, 64)),
    (
        "ya29.",
        Shape::Prefix(Kind::GcpApiKey, is_token, 20, usize::MAX),
    ),
    ("sk-", Shape::Sk),
    (
        "ghp_",
        Shape::Prefix(Kind::GithubToken, is_alphanumeric, 36, 255),
    ),
    (
        "gho_",
        Shape::Prefix(Kind::GithubToken, is_alphanumeric, 36, 255),
    ),
    (
        "ghu_",
        Shape::Prefix(Kind::GithubToken, is_alphanumeric, 36, 255),
    ),
    (
        "ghs_",
        Shape::Prefix(Kind::GithubToken, is_alphanumeric, 36, 255),
    ),
    (
        "ghr_",
        Shape::Prefix(Kind::GithubToken, is_alphanumeric, 36, 255),
    ),
    (
        "github_pat_",
        Shape::Prefix(Kind::GithubToken, is_token, 22, 255),
    ),
    (
        "xox",
        Shape::Prefix(Kind::SlackToken, is_token, 12, usize::MAX),
    ),
    (
        "xapp-",
        Shape::Prefix(Kind::SlackToken, is_token, 20, usize::MAX),
    ),
    ("_live_", Shape::Stripe),
    ("_test_", Shape::Stripe),
    (
        "hf_",
        Shape::Prefix(Kind::HuggingfaceToken, is_alphanumeric, 30, 64),
    ),
    ("glpat-", Shape::Prefix(Kind::ApiKey, is_token, 20, 64)),
    ("npm_", Shape::Prefix(Kind::ApiKey, is_alphanumeric, 36, 36)),
    ("JQQJ99", Shape::AzureSignature),
    ("eyJ", Shape::Jwt),
    ("earer ", Shape::Bearer),
    ("EARER ", Shape::Bearer),
    ("PRIVATE KEY-----", Shape::Pem),
    ("PRIVATE KEY BLOCK-----", Shape::Pem),
];

/// Packed search where the processor has it, an automaton elsewhere.
enum Stems {
    Packed(Searcher),
    Automaton(AhoCorasick),
}

static SEARCHER: LazyLock<Stems> = LazyLock::new(|| {
    let stems = STEMS.map(|(stem, _)| stem);
    match packed::Config::new()
        .match_kind(MatchKind::LeftmostFirst)
        .builder()
        .extend(stems)
        .build()
    {
        Some(searcher) => Stems::Packed(searcher),
        None => Stems::Automaton(AhoCorasick::new(stems).expect("a few short literals")),
    }
});

pub(super) fn find(text: &[u8], out: &mut Vec<Finding>) {
    let mut pem = PemSearch::default();
    let mut each = |hit: Match| {
        if let Some((kind, start, end)) = judge(text, hit, &mut pem) {
            out.push(Finding { kind, start, end });
            if kind == Kind::AwsAccessKey
                && let Some((start, end)) = aws_secret_beside(text, end)
            {
                out.push(Finding {
                    kind: Kind::AwsSecretKey,
                    start,
                    end,
                });
            }
        }
    };
    match &*SEARCHER {
        Stems::Packed(searcher) => searcher.find_iter(text).for_each(&mut each),
        Stems::Automaton(automaton) => automaton.find_iter(text).for_each(&mut each),
    }
}

/// Kind and place of the secret around a hit, if it is one.
fn judge(text: &[u8], hit: Match, pem: &mut PemSearch) -> Option<(Kind, usize, usize)> {
    let (start, stem_end) = (hit.start(), hit.end());
    let begins_word = !is_token(before(text, start));
    match STEMS[hit.pattern().as_usize()].1 {
        Shape::Prefix(kind, accept, least, most) => {
            let length = run(text, stem_end, accept);
            let end = stem_end + length;
            let whole = begins_word && !at(text, end).is_ascii_alphanumeric();
            // A name in code has no digit (`npm_` and `hf_` begin names too).
            let random =
                text[stem_end..end].iter().any(u8::is_ascii_digit) || kind == Kind::AwsAccessKey;
            (whole && random && (least..=most).contains(&length)).then_some((kind, start, end))
        }
        Shape::Sk => {
            let end = stem_end + run(text, stem_end, is_token);
            let body = &text[stem_end..end];
            // Kebab-case names are short words; a key has a long piece without a break, and digits.
            let longest = body
                .split(|byte| !byte.is_ascii_alphanumeric())
                .map(<[u8]>::len)
                .max()
                .unwrap_or(0);
            let digits = body.iter().filter(|byte| byte.is_ascii_digit()).count();
            let kind = if body.starts_with(b"ant-") {
                Kind::AnthropicKey
            } else {
                Kind::OpenaiKey
            };
            (begins_word && body.len() >= 20 && longest >= 16 && digits >= 2)
                .then_some((kind, start, end))
        }
        Shape::Stripe => {
            let start = start.checked_sub(2)?;
            let prefixed =
                matches!(&text[start..start + 2], b"sk" | b"rk") && !is_token(before(text, start));
            let end = stem_end + run(text, stem_end, is_alphanumeric);
            let random = text[stem_end..end].iter().any(u8::is_ascii_digit);
            (prefixed && random && end - stem_end >= 10).then_some((Kind::StripeKey, start, end))
        }
        Shape::AzureSignature => {
            let start = start.checked_sub(52)?;
            let whole = !is_token(before(text, start)) && !is_token(at(text, start + 84));
            let key = text.get(start..start + 84)?;
            (whole && key.iter().all(u8::is_ascii_alphanumeric)).then_some((
                Kind::AzureKey,
                start,
                start + 84,
            ))
        }
        Shape::Jwt => {
            let first = run(text, start, is_token);
            let second = run(text, start + first + 1, is_token);
            let end = start + first + 1 + second;
            if !begins_word || first < 12 || at(text, start + first) != b'.' || second < 8 {
                return None;
            }
            // Signature, and the further parts of an encrypted token.
            let rest = run(text, end, |byte| is_token(byte) || byte == b'.');
            Some((Kind::Jwt, start, end + rest))
        }
        Shape::Bearer => {
            let start = start.checked_sub(1)?;
            if !text[start].eq_ignore_ascii_case(&b'b') || is_token(before(text, start)) {
                return None;
            }
            let token = stem_end + run(text, stem_end, |byte| byte == b' ');
            let end = token
                + run(text, token, |byte| {
                    is_token(byte) || b".~+/=".contains(&byte)
                });
            let random = text[token..end].iter().any(u8::is_ascii_digit)
                && byte_entropy(&text[token..end]) >= 3.0;
            (end - token >= 16 && random).then_some((Kind::BearerToken, token, end))
        }
        Shape::Pem => pem
            .block(text, start, stem_end)
            .map(|(start, end)| (Kind::PrivateKey, start, end)),
    }
}

/// Remembers that no end marker follows, so that many headers without one are not searched again and again.
#[derive(Default)]
struct PemSearch {
    no_end_after: Option<usize>,
}

impl PemSearch {
    /// Start and end of the block whose header ends at `header_end`. A block cut short ends with its last line of base64.
    fn block(&mut self, text: &[u8], label: usize, header_end: usize) -> Option<(usize, usize)> {
        const BEGIN: &[u8] = b"-----BEGIN ";
        // Longest label in use: "OPENSSH ", "ENCRYPTED ".
        let front = &text[label.saturating_sub(32)..label];
        let start = label - front.len() + memmem::rfind(front, BEGIN)?;
        if !text[start + BEGIN.len()..label]
            .iter()
            .all(|byte| byte.is_ascii_uppercase() || *byte == b' ')
        {
            return None;
        }
        let body = header_end + base64_lines(&text[header_end..]);
        // The end marker follows the body at once, save white space and the headers of old encrypted keys.
        if self.no_end_after.is_none_or(|place| header_end < place) {
            let reach = text.len().min(header_end + 16 * 1024);
            match memmem::find(&text[header_end..reach], b"-----END ") {
                Some(offset) => {
                    let end = header_end + offset + 9;
                    let label = run(&text[..text.len().min(end + 40)], end, |byte| {
                        byte.is_ascii_uppercase() || byte == b' '
                    });
                    let dashes = run(
                        &text[..text.len().min(end + label + 5)],
                        end + label,
                        |byte| byte == b'-',
                    );
                    return Some((start, end + label + dashes));
                }
                None => self.no_end_after = Some(reach),
            }
        }
        (body > header_end).then_some((start, body))
    }
}

/// The length of the lines of base64 at the start of `text`, 0 when the first is not one.
fn base64_lines(text: &[u8]) -> usize {
    let mut end = 0;
    loop {
        let line = end + run(text, end, |byte| byte.is_ascii_whitespace());
        let length = run(text, line, |byte| {
            byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)
        });
        // Only the last line of a block is short; a word of prose is short as well.
        if length < 16 {
            return end;
        }
        end = line + length;
    }
}

/// A secret access key within reach of its access key id: forty characters of base64 that are not a hash.
fn aws_secret_beside(text: &[u8], id_end: usize) -> Option<(usize, usize)> {
    const REACH: usize = 160;
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'/' || byte == b'+';
    let mut place = id_end;
    while place < text.len().min(id_end + REACH) {
        let length = run(text, place, is_base64);
        if length == 40 && is_aws_secret(&text[place..place + 40]) {
            return Some((place, place + 40));
        }
        place += length + 1;
    }
    None
}

/// True when forty characters look like a secret access key: upper case, lower case, digits, and no pattern.
pub(super) fn is_aws_secret(value: &[u8]) -> bool {
    value.len() == 40
        && value.iter().any(u8::is_ascii_uppercase)
        && value.iter().any(u8::is_ascii_lowercase)
        && value.iter().any(u8::is_ascii_digit)
        && byte_entropy(value) >= 4.0
}

fn is_upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}
