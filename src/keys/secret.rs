//! Keys in memory: wiped when dropped, never shown.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// Bytes of a key.
const BYTES: usize = 32;

/// A key of 256 bits.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Zeroizing<[u8; BYTES]>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// A new one.
    pub(crate) fn random() -> Result<Secret> {
        let mut key = Zeroizing::new([0; BYTES]);
        fill(&mut *key)?;
        Ok(Secret(key))
    }

    /// From its bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Secret> {
        Some(Secret(Zeroizing::new(bytes.try_into().ok()?)))
    }

    /// From text: 64 hexadecimal digits, or base64 with or without its padding, also in the alphabet of URLs.
    pub(crate) fn parse(text: &str) -> Option<Secret> {
        let mut key = Zeroizing::new(Vec::with_capacity(2 * BYTES));
        if text.len() == 2 * BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            for pair in text.as_bytes().chunks(2) {
                let pair = std::str::from_utf8(pair).ok()?;
                key.push(u8::from_str_radix(pair, 16).ok()?);
            }
        } else {
            let plain = text
                .trim_end_matches('=')
                .replace('-', "+")
                .replace('_', "/");
            let plain = Zeroizing::new(plain);
            let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
            engine.decode_vec(plain.as_bytes(), &mut key).ok()?;
        }
        Secret::from_bytes(&key)
    }

    /// As it is written to a key file.
    pub(crate) fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0.as_slice()))
    }

    /// The key itself.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// What it can be called in public: nothing follows from it.
    pub(crate) fn name(&self) -> String {
        let mut hash = Hmac::<Sha256>::new_from_slice(self.bytes()).expect("any length will do");
        hash.update(b"inferwatch: name of a master key");
        hash.finalize().into_bytes()[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    fn cipher(&self) -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM, self.bytes());
        LessSafeKey::new(key.expect("it has the length of a key"))
    }

    /// Encrypts another key, for a purpose: nonce, ciphertext and tag, in base64. This is how other readers of Parquet
    /// wrap keys on their own as well, with the name of the wrapping key as the purpose.
    pub(crate) fn wrap(&self, key: &Secret, purpose: &str) -> Result<String> {
        let mut nonce = [0; NONCE_LEN];
        fill(&mut nonce)?;
        let mut sealed = key.bytes().to_vec();
        self.cipher()
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(purpose.as_bytes()),
                &mut sealed,
            )
            .expect("a key is not too long");
        Ok(STANDARD.encode([&nonce[..], &sealed].concat()))
    }

    /// Takes back what [`Self::wrap`] did; `None` when this is not the key, or not the purpose, or it was changed.
    pub(crate) fn unwrap(&self, wrapped: &str, purpose: &str) -> Option<Secret> {
        let mut bytes = Zeroizing::new(STANDARD.decode(wrapped).ok()?);
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let aad = Aad::from(purpose.as_bytes());
        let plain = self.cipher().open_in_place(nonce, aad, sealed).ok()?;
        Secret::from_bytes(plain)
    }
}

fn fill(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| Error::Store {
        message: format!("no randomness from the system: {error}"),
        hint: None,
    })
}

/// A key of a table: encrypts the keys of its files.
#[derive(Debug, Clone)]
pub(crate) struct TableKey {
    /// Its name, which stands in the files.
    pub(crate) name: String,
    /// The key.
    pub(crate) secret: Secret,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_in_every_usual_form() {
        let bytes: Vec<u8> = (0..32).map(|byte| byte * 8 + 3).collect();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = Secret::from_bytes(&bytes).expect("32 bytes");
        // `python3 -c "import base64; print(base64.b64encode(bytes(b * 8 + 3 for b in range(32))).decode())"`
        let base64 = "AwsTGyMrMztDS1NbY2tze4OLk5ujq7O7w8vT2+Pr8/s=";
        for text in [
            hex.as_str(),
            &hex.to_uppercase(),
            base64,
            base64.trim_end_matches('='),
            &base64.replace('+', "-").replace('/', "_"),
        ] {
            assert_eq!(Secret::parse(text), Some(expected.clone()), "{text}");
        }
        assert_eq!(expected.to_text().as_str(), base64);
        for wrong in ["", "password", &hex[1..], &base64[4..], "AwsTGyMr MztDS1Nb"] {
            assert_eq!(Secret::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_the_key_and_the_purpose_unwrap() {
        let (key, other) = (
            Secret::random().expect("a key"),
            Secret::random().expect("a key"),
        );
        let inner = Secret::random().expect("a key");
        let wrapped = key.wrap(&inner, "content.1").expect("wrapped");
        assert_eq!(key.unwrap(&wrapped, "content.1"), Some(inner.clone()));
        assert_eq!(key.unwrap(&wrapped, "content.2"), None);
        assert_eq!(other.unwrap(&wrapped, "content.1"), None);
        assert_eq!(key.unwrap(&wrapped[4..], "content.1"), None);
        assert_eq!(key.unwrap("", "content.1"), None);
        assert_ne!(wrapped, key.wrap(&inner, "content.1").expect("wrapped"));
    }

    #[test]
    fn a_key_is_never_shown() {
        let key = Secret::random().expect("a key");
        let shown = format!(
            "{key:?} {:?}",
            TableKey {
                name: "n".to_owned(),
                secret: key.clone()
            }
        );
        assert_eq!(shown, "Secret TableKey { name: \"n\", secret: Secret }");
        assert_eq!(key.name().len(), 16);
    }
}
