//! Where master keys come from: a file, an environment variable or a command, and nowhere else. Nothing that is read
//! here is ever part of a message.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use super::secret::Secret;
use crate::error::{Error, Result};

/// Where to look for master keys. There may be several, one a line: a table is opened with the one that fits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KeySource {
    /// There is none.
    #[default]
    Nowhere,
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Variable(&'static str),
    /// What a command prints, run by the shell.
    Command(String),
}

impl KeySource {
    /// The one of three that is there.
    ///
    /// # Errors
    /// When there are several: nobody should have to guess which key was used.
    pub fn choose(
        file: Option<&Path>,
        command: Option<&str>,
        variable: &'static str,
    ) -> Result<KeySource> {
        let is_set = std::env::var_os(variable).is_some_and(|value| !value.is_empty());
        let mut given: Vec<KeySource> = Vec::new();
        given.extend(file.map(|file| KeySource::File(file.to_path_buf())));
        given.extend(command.map(|command| KeySource::Command(command.to_owned())));
        given.extend(is_set.then_some(KeySource::Variable(variable)));
        match given.as_slice() {
            [first, second, ..] => Err(Error::Usage {
                message: format!("the key is given twice: by {first} and by {second}"),
                hint: Some(
                    "a file, a command or the environment: leave all but one out".to_owned(),
                ),
            }),
            _ => Ok(given.pop().unwrap_or_default()),
        }
    }

    /// The keys.
    pub(crate) fn read(&self) -> Result<Vec<Secret>> {
        let bytes = match self {
            KeySource::Nowhere => return Ok(Vec::new()),
            KeySource::File(path) => {
                Zeroizing::new(std::fs::read(path).map_err(Error::io("read", path))?)
            }
            KeySource::Variable(name) => {
                let value = std::env::var_os(name).unwrap_or_default();
                Zeroizing::new(value.into_encoded_bytes())
            }
            KeySource::Command(command) => run(command)?,
        };
        self.parse(&bytes)
    }

    fn parse(&self, bytes: &[u8]) -> Result<Vec<Secret>> {
        // As a key service may give it.
        if let Some(key) = Secret::from_bytes(bytes) {
            return Ok(vec![key]);
        }
        let text = std::str::from_utf8(bytes).unwrap_or("\u{FFFD}");
        let words = text.split([' ', '\t', '\r', '\n', ',']);
        let keys: Option<Vec<Secret>> = words
            .filter(|word| !word.is_empty())
            .map(Secret::parse)
            .collect();
        match keys {
            Some(keys) if !keys.is_empty() => Ok(keys),
            _ => Err(Error::Usage {
                message: format!("{self} holds no key"),
                hint: Some(
                    "a key is 32 random bytes, in base64 or hexadecimal, as `openssl rand -base64 32` makes one; several \
                     stand one a line"
                        .to_owned(),
                ),
            }),
        }
    }

    /// What kind of source it is, for `audit`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            KeySource::Nowhere => "nothing",
            KeySource::File(_) => "file",
            KeySource::Variable(_) => "environment",
            KeySource::Command(_) => "command",
        }
    }

    /// Refuses a key that lies in a store: whoever has the one would have the other.
    pub(crate) fn refuse_inside(&self, store: &Path) -> Result<()> {
        let KeySource::File(path) = self else {
            return Ok(());
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let (Ok(folder), Ok(store)) = (folder.canonicalize(), store.canonicalize()) else {
            return Ok(());
        };
        if folder.starts_with(&store) {
            return Err(Error::Usage {
                message: format!("the key file `{}` lies in the store", path.display()),
                hint: Some(
                    "move it: whoever copies the store would have the key with it".to_owned(),
                ),
            });
        }
        Ok(())
    }
}

/// Names the source, and never what is in it: a command may have a password in it as well.
impl std::fmt::Display for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeySource::Nowhere => f.write_str("nothing"),
            KeySource::File(path) => write!(f, "the key file `{}`", path.display()),
            KeySource::Variable(name) => write!(f, "the environment variable `{name}`"),
            KeySource::Command(_) => f.write_str("the key command"),
        }
    }
}

/// What a command prints. What it says of errors goes where ours go; it gets no input, so it cannot take that of an
/// ingest.
fn run(command: &str) -> Result<Zeroizing<Vec<u8>>> {
    let mut shell = if cfg!(windows) {
        let mut shell = Command::new("cmd");
        shell.args(["/C", command]);
        shell
    } else {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]);
        shell
    };
    let failed = |what: String| Error::Usage {
        message: format!("the key command {what}"),
        hint: Some("it has to print the key, and nothing else, and end with 0".to_owned()),
    };
    let output = shell
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed(format!("cannot be run: {error}")))?;
    let printed = Zeroizing::new(output.stdout);
    if !output.status.success() {
        return Err(failed(format!("failed: {}", output.status)));
    }
    Ok(printed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "AwsTGyMrMztDS1NbY2tze4OLk5ujq7O7w8vT2+Pr8/s=";

    fn source(text: &[u8]) -> (tempfile::TempDir, KeySource) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        std::fs::write(&path, text).expect("written");
        (folder, KeySource::File(path))
    }

    #[test]
    fn a_file_has_one_key_a_line_or_the_bytes_of_one() {
        let two = format!("{ONE}\n\n  {}\r\n", "ab".repeat(32));
        let (_folder, file) = source(two.as_bytes());
        assert_eq!(file.read().expect("keys").len(), 2);
        let (_folder, file) = source(&[0xff; 32]);
        assert_eq!(
            file.read().expect("a key"),
            [Secret::parse(&"ff".repeat(32)).expect("a key")]
        );
    }

    #[test]
    fn what_is_no_key_is_not_repeated() {
        for text in ["", "hunter2", &format!("{ONE}\nhunter2")] {
            let (_folder, file) = source(text.as_bytes());
            let error = file.read().expect_err("no key");
            let told = format!("{error} {:?}", error.hint());
            assert!(!told.contains("hunter2") && !told.contains(ONE), "{told}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_command_prints_the_key_or_nothing_is_done() {
        let command = |text: String| KeySource::Command(text).read();
        assert_eq!(command(format!("echo {ONE}")).expect("a key").len(), 1);
        for wrong in [
            format!("echo {ONE}; exit 3"),
            "true".into(),
            "no-such-program-here 2>/dev/null".into(),
        ] {
            let error = command(wrong).expect_err("no key");
            assert!(!error.to_string().contains(ONE), "{error}");
        }
    }

    #[test]
    fn two_sources_are_one_too_many() {
        let one = KeySource::choose(Some(Path::new("k")), None, "INFERWATCH_NO_SUCH");
        assert_eq!(one.expect("one"), KeySource::File("k".into()));
        let none = KeySource::choose(None, None, "INFERWATCH_NO_SUCH").expect("none");
        assert_eq!(none, KeySource::Nowhere);
        let both = KeySource::choose(Some(Path::new("k")), Some("c"), "INFERWATCH_NO_SUCH");
        let error = both.expect_err("two").to_string();
        assert_eq!(
            error,
            "the key is given twice: by the key file `k` and by the key command"
        );
    }

    #[test]
    fn a_key_in_the_store_is_refused() {
        let (folder, file) = source(ONE.as_bytes());
        assert!(file.refuse_inside(folder.path()).is_err());
        let other = tempfile::tempdir().expect("a folder");
        assert!(file.refuse_inside(other.path()).is_ok());
    }
}
