//! Secrets that show what they are: keys with a fixed prefix, JSON Web Tokens, bearer tokens, PEM private keys.
//!
//! Every key is a long run of letters, digits, `-` and `_`, and prose has hardly any; so runs are found first and
//! their starts compared with the prefixes. That costs the same for ten prefixes as for a thousand, where a search
//! for all of them at once slows with each. Prefixes and lengths are those that vendors publish for secret scanning.

use std::sync::LazyLock;

use memchr::memmem::{self, Finder};

use super::{Finding, Kind, at, before, byte_entropy, run};
use crate::text::runs::Class;

/// What keys are written in.
const TOKEN: Class = Class::alphanumeric_and(b"-_");

/// The shortest run that any of the shapes below accepts.
const SHORTEST: usize = 16;

/// What follows a prefix.
#[derive(Clone, Copy)]
enum Body {
    /// Letters, digits, `-` and `_`, as many as there are.
    Token,
    /// Letters and digits to the end of the run.
    Alphanumeric,
    /// Upper-case letters and digits to the end of the run.
    Upper,
}

/// Prefix, kind, what follows it, and its least and greatest length.
const PREFIXES: [(&[u8], Kind, Body, usize, usize); 38] = [
    (b"AKIA", Kind::AwsAccessKey, Body::Upper, 16, 16),
    (b"ASIA", Kind::AwsAccessKey, Body::Upper, 16, 16),
    (b"ABIA", Kind::AwsAccessKey, Body::Upper, 16, 16),
    (b"ACCA", Kind::AwsAccessKey, Body::Upper, 16, 16),
    (b"AIza", Kind::GcpApiKey, Body::Token, 35, 35),
    (b"GOCSPX-", Kind::GcpApiKey, Body::Token, 20, 64),
    (b"ghp_", Kind::GithubToken, Body::Alphanumeric, 36, 255),
    (b"gho_", Kind::GithubToken, Body::Alphanumeric, 36, 255),
    (b"ghu_", Kind::GithubToken, Body::Alphanumeric, 36, 255),
    (b"ghs_", Kind::GithubToken, Body::Alphanumeric, 36, 255),
    (b"ghr_", Kind::GithubToken, Body::Alphanumeric, 36, 255),
    (b"github_pat_", Kind::GithubToken, Body::Token, 22, 255),
    (b"hf_", Kind::HuggingfaceToken, Body::Alphanumeric, 30, 64),
    (
        b"api_org_",
        Kind::HuggingfaceToken,
        Body::Alphanumeric,
        30,
        64,
    ),
    (b"xoxa-", Kind::SlackToken, Body::Token, 11, usize::MAX),
    (b"xoxb-", Kind::SlackToken, Body::Token, 11, usize::MAX),
    (b"xoxc-", Kind::SlackToken, Body::Token, 11, usize::MAX),
    (b"xoxd-", Kind::SlackToken, Body::Token, 11, usize::MAX),
    (b"xoxe-", Kind::SlackToken, Body::Token, 11, usize::MAX),
    (b"xoxo-", Kind::SlackToken, Body::Token, 11, usize::MAX),
    (b"xoxp-", Kind::SlackToken, Body::Token, 11, usize::MAX),
    (b"xoxr-", Kind::SlackToken, Body::Token, 11, usize::MAX),
    (b"xoxs-", Kind::SlackToken, Body::Token, 11, usize::MAX),
    (b"xapp-", Kind::SlackToken, Body::Token, 20, usize::MAX),
    (b"sk_live_", Kind::StripeKey, Body::Alphanumeric, 10, 255),
    (b"sk_test_", Kind::StripeKey, Body::Alphanumeric, 10, 255),
    (b"rk_live_", Kind::StripeKey, Body::Alphanumeric, 10, 255),
    (b"rk_test_", Kind::StripeKey, Body::Alphanumeric, 10, 255),
    (b"whsec_", Kind::StripeKey, Body::Alphanumeric, 20, 255),
    // Vendors of models and of code whose keys have no kind of their own.
    (b"gsk_", Kind::ApiKey, Body::Alphanumeric, 40, 64),
    (b"pplx-", Kind::ApiKey, Body::Alphanumeric, 40, 64),
    (b"xai-", Kind::ApiKey, Body::Alphanumeric, 60, 100),
    (b"nvapi-", Kind::ApiKey, Body::Token, 40, 100),
    (b"r8_", Kind::ApiKey, Body::Alphanumeric, 37, 37),
    (b"pcsk_", Kind::ApiKey, Body::Token, 40, 100),
    (b"glpat-", Kind::ApiKey, Body::Token, 20, 64),
    (b"npm_", Kind::ApiKey, Body::Alphanumeric, 36, 36),
    (b"pypi-AgE", Kind::ApiKey, Body::Token, 50, usize::MAX),
];

pub(super) fn find(text: &[u8], out: &mut Vec<Finding>) {
    let mut place = 0;
    while let Some((start, end)) = TOKEN.next_run(text, place, SHORTEST) {
        place = end;
        if let Some((kind, start, end)) = judge(text, start, end) {
            out.push(Finding { kind, start, end });
            place = place.max(end);
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
    }
    for stem in &*BEARER {
        out.extend(stem.find_iter(text).filter_map(|stem| bearer(text, stem)));
    }
    let mut pem = PemSearch::default();
    out.extend(
        PRIVATE_KEY
            .find_iter(text)
            .filter_map(|label| pem.block(text, label)),
    );
}

// Made once: making a searcher takes as long as searching a short text.
static BEARER: LazyLock<[Finder<'static>; 2]> =
    LazyLock::new(|| [Finder::new("earer "), Finder::new("EARER ")]);
static PRIVATE_KEY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("PRIVATE KEY"));

/// Kind and place of the key that the run `start..end` of token characters holds.
fn judge(text: &[u8], start: usize, end: usize) -> Option<(Kind, usize, usize)> {
    let token = &text[start..end];
    // A name in code may begin as a key does (`hf_`, `npm_`), but has no digits.
    let digits = || token.iter().filter(|byte| byte.is_ascii_digit()).count();
    match token[0] {
        b'e' if token.starts_with(b"eyJ") => {
            return jwt(text, end).map(|end| (Kind::Jwt, start, end));
        }
        b's' if token.starts_with(b"sk-") => {
            // Kebab-case names are short words; a key has a long piece without a break.
            let longest = token[3..]
                .split(|byte| !byte.is_ascii_alphanumeric())
                .map(<[u8]>::len)
                .max();
            let kind = if token.starts_with(b"sk-ant-") {
                Kind::AnthropicKey
            } else {
                Kind::OpenaiKey
            };
            return (token.len() >= 23 && longest >= Some(16) && digits() >= 2)
                .then_some((kind, start, end));
        }
        _ => {}
    }
    if text[..start].ends_with(b"ya29.") && digits() > 0 {
        return Some((Kind::GcpApiKey, start - 5, end));
    }
    // Azure marks the keys of its newer services in the middle.
    if token.len() == 84 && &token[52..58] == b"JQQJ99" {
        return Some((Kind::AzureKey, start, end));
    }
    for (prefix, kind, body, least, most) in PREFIXES {
        let Some(rest) = token.strip_prefix(prefix) else {
            continue;
        };
        let whole = match body {
            Body::Token => true,
            Body::Alphanumeric => rest.iter().all(u8::is_ascii_alphanumeric),
            Body::Upper => rest
                .iter()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()),
        };
        let random = kind == Kind::AwsAccessKey || digits() > 0;
        return (whole && random && (least..=most).contains(&rest.len()))
            .then_some((kind, start, end));
    }
    None
}

/// The end of the JSON Web Token whose header ends at `end`.
fn jwt(text: &[u8], end: usize) -> Option<usize> {
    // `eyJ` is base64 of `{"`, which the payload of a signed token begins with too, but not that of an encrypted one.
    let payload = run(text, end + 1, |byte| TOKEN.has(byte));
    if at(text, end) != b'.' || payload < 8 {
        return None;
    }
    // Signature, and the further parts of an encrypted token.
    let rest = end + 1 + payload;
    Some(rest + run(text, rest, |byte| TOKEN.has(byte) || byte == b'.'))
}

/// The token after `Bearer`, of which `stem` is the place of the second letter.
fn bearer(text: &[u8], stem: usize) -> Option<Finding> {
    let word = stem.checked_sub(1)?;
    if !text[word].eq_ignore_ascii_case(&b'b') || TOKEN.has(before(text, word)) {
        return None;
    }
    let start = stem + 6;
    let end = start
        + run(text, start, |byte| {
            TOKEN.has(byte) || b".~+/=".contains(&byte)
        });
    let token = &text[start..end];
    let random =
        token.len() >= 16 && token.iter().any(u8::is_ascii_digit) && byte_entropy(token) >= 3.0;
    random.then_some(Finding {
        kind: Kind::BearerToken,
        start,
        end,
    })
}

/// Remembers that no end marker follows, so that many headers without one are not searched again and again.
#[derive(Default)]
struct PemSearch {
    no_end_after: Option<usize>,
}

impl PemSearch {
    /// The block whose label has `PRIVATE KEY` at `name`. A block cut short ends with its last line of base64.
    fn block(&mut self, text: &[u8], name: usize) -> Option<Finding> {
        const BEGIN: &[u8] = b"-----BEGIN ";
        let after = &text[name + "PRIVATE KEY".len()..];
        let closing: &[u8] = if after.starts_with(b" BLOCK") {
            b" BLOCK-----"
        } else {
            b"-----"
        };
        if !after.starts_with(closing) {
            return None;
        }
        let header_end = text.len() - after.len() + closing.len();
        // Longest in use before the name: "OPENSSH ", "ENCRYPTED ".
        let front = &text[name.saturating_sub(32)..name];
        let start = name - front.len() + memmem::rfind(front, BEGIN)?;
        if !text[start + BEGIN.len()..name]
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
                    return Some(Finding {
                        kind: Kind::PrivateKey,
                        start,
                        end: end + label + dashes,
                    });
                }
                None => self.no_end_after = Some(reach),
            }
        }
        (body > header_end).then_some(Finding {
            kind: Kind::PrivateKey,
            start,
            end: body,
        })
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
