//! Secrets that only their name gives away: `api_key=...`, `"client_secret": "..."`, `AccountKey=...;`,
//! `my password is ...`.
//!
//! The gate is the sign between name and value. The name's end decides whether the value is looked at, and the value
//! must be long, hold digits and letters and have the entropy of something drawn at random: placeholders, variable names
//! and words of prose have not.

use std::sync::LazyLock;

use memchr::memchr2_iter;
use memchr::memmem::{self, Finder};

use super::key::is_aws_secret;
use super::{Finding, Kind, at, before, byte_entropy, run};

/// What a name ends in once its separators are gone and it is in lower case, the most telling first.
const NAMES: [(&[u8], Kind); 34] = [
    (b"awssecretaccesskey", Kind::AwsSecretKey),
    (b"secretaccesskey", Kind::AwsSecretKey),
    (b"awssecretkey", Kind::AwsSecretKey),
    (b"awssecret", Kind::AwsSecretKey),
    (b"ocpapimsubscriptionkey", Kind::AzureKey),
    (b"subscriptionkey", Kind::AzureKey),
    (b"sharedaccesskey", Kind::AzureKey),
    (b"sharedaccesssignature", Kind::AzureKey),
    (b"accountkey", Kind::AzureKey),
    (b"storagekey", Kind::AzureKey),
    (b"apikey", Kind::ApiKey),
    (b"apisecret", Kind::ApiKey),
    (b"apitoken", Kind::ApiKey),
    (b"accesskey", Kind::ApiKey),
    (b"accesstoken", Kind::ApiKey),
    (b"authkey", Kind::ApiKey),
    (b"authtoken", Kind::ApiKey),
    (b"bearertoken", Kind::ApiKey),
    (b"credential", Kind::ApiKey),
    (b"credentials", Kind::ApiKey),
    (b"encryptionkey", Kind::ApiKey),
    (b"idtoken", Kind::ApiKey),
    (b"masterkey", Kind::ApiKey),
    (b"passphrase", Kind::ApiKey),
    (b"passwd", Kind::ApiKey),
    (b"password", Kind::ApiKey),
    (b"privatekey", Kind::ApiKey),
    (b"refreshtoken", Kind::ApiKey),
    (b"secret", Kind::ApiKey),
    (b"secretkey", Kind::ApiKey),
    (b"secrettoken", Kind::ApiKey),
    (b"sessiontoken", Kind::ApiKey),
    (b"signingkey", Kind::ApiKey),
    (b"functionskey", Kind::ApiKey),
];

/// The longest name above, with room for separators.
const NAME_REACH: usize = 32;

static IS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(" is "));

pub(super) fn find(text: &[u8], out: &mut Vec<Finding>) {
    for sign in memchr2_iter(b'=', b':', text) {
        // The second byte of `==`, `:=` and `::` is not a sign of its own.
        if !matches!(before(text, sign), b'=' | b':') {
            let after = sign + 1 + usize::from(matches!(at(text, sign + 1), b'=' | b'>'));
            value_after(text, sign, after, out);
        }
    }
    for sign in IS.find_iter(text) {
        value_after(text, sign, sign + 4, out);
    }
}

/// Judges the value that starts about `after`, its name ending before `sign`.
fn value_after(text: &[u8], sign: usize, after: usize, out: &mut Vec<Finding>) {
    // Most signs are followed by something short; that is cheaper to see than what the name is.
    let start = value_start(text, after);
    if run(&text[..text.len().min(start + 16)], start, is_value) < 16 {
        return;
    }
    let Some(kind) = name_before(text, sign) else {
        return;
    };
    let length = run(text, start, is_value);
    let end = start + length + run(text, start + length, |byte| byte == b'=').min(2);
    if let Some(kind) = judge(kind, &text[start..end]) {
        out.push(Finding { kind, start, end });
    }
}

/// Skips what may stand before a value: spaces and an opening quotation mark.
fn value_start(text: &[u8], after: usize) -> usize {
    let near = &text[..text.len().min(after + 6)];
    after
        + run(near, after, |byte| {
            matches!(byte, b' ' | b'\t' | b'"' | b'\'' | b'`')
        })
}

fn is_value(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_+/.~!@#$%^*?".contains(&byte)
}

/// The kind that the name before `sign` promises.
fn name_before(text: &[u8], sign: usize) -> Option<Kind> {
    // Letters of the name, backwards from the end of the buffer.
    let mut name = [0; NAME_REACH];
    let mut free = NAME_REACH;
    for &byte in text[..sign].iter().rev().take(NAME_REACH + 8) {
        if byte.is_ascii_alphabetic() {
            if free == 0 {
                break;
            }
            free -= 1;
            name[free] = byte.to_ascii_lowercase();
        } else if !matches!(byte, b'_' | b'-' | b'.' | b' ' | b'"' | b'\'' | b'`' | b']') {
            break;
        }
    }
    let name = &name[free..];
    if name == b"token" {
        return Some(Kind::ApiKey);
    }
    NAMES
        .iter()
        .find(|(ending, _)| name.ends_with(ending))
        .map(|&(_, kind)| kind)
}

/// The kind of a value of at least 16 characters, given what its name promises.
fn judge(promised: Kind, value: &[u8]) -> Option<Kind> {
    if promised == Kind::AwsSecretKey && is_aws_secret(value) {
        return Some(Kind::AwsSecretKey);
    }
    // Base64 has slashes of its own; elsewhere two in a row are a link.
    let link = promised != Kind::AzureKey && memmem::find(value, b"//").is_some();
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = value
        .iter()
        .filter(|byte| byte.is_ascii_alphabetic())
        .count();
    let random = digits >= 2 && letters >= 2 && byte_entropy(value) >= 3.0;
    // AWS secret keys have one form; what is called so and has another is still a secret.
    (random && !link).then_some(if promised == Kind::AzureKey {
        promised
    } else {
        Kind::ApiKey
    })
}
