//! `inferwatch sinks` as a person or a script meets it, and the pages that explain it.

use std::path::Path;
use std::process::{Command, Stdio};

use inferwatch::sinks::Settings;
use insta::assert_snapshot;

use super::server::Server;
use super::{Event, TestStore, opened};

/// Runs the program with the settings, and shows everything that it did.
fn run(store: &TestStore, settings: &str, arguments: &[&str]) -> String {
    let folder = store.folder.path();
    std::fs::write(folder.join("inferwatch.toml"), settings).expect("writes");
    store.open();
    let output = Command::new(env!("CARGO_BIN_EXE_inferwatch"))
        .current_dir(folder)
        .args(["--store", "store", "sinks"])
        .args(arguments)
        .env("TEST_SINKS_SECRET", "very-secret")
        .env("XDG_CONFIG_HOME", folder)
        .env_remove("COLUMNS")
        .stdin(Stdio::null())
        .output()
        .expect("runs");
    let text = format!(
        "exit: {}\n--- stdout\n{}--- stderr\n{}",
        output.status.code().expect("ends by itself"),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!text.contains("very-secret"), "{text}");
    text.replace(&folder.display().to_string(), "[folder]")
}

const ONE_O_CLOCK: [&str; 2] = ["--at", "2026-11-21T13:00:00Z"];

#[test]
fn a_life_on_the_command_line() {
    // The first finding is refused, and everything after it taken.
    let mut count = 0;
    let server = Server::answering(move |_| {
        count += 1;
        Some((
            if count == 2 { 422 } else { 200 },
            "{\"said\":\"\u{1b}[31mvery-secret\"}".into(),
        ))
    });
    let settings = format!(
        "[sinks.hook]\nkind = \"webhook\"\nurl = \"{}\"\nsecret_env = \"TEST_SINKS_SECRET\"\n\
         [sinks.broken]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:9/\"\nsecret_env = \"TEST_SINKS_NOT_SET\"\n\
         [[routes]]\nsinks = [\"hook\"]\n\
         [[silences]]\nrules = [\"x\"]\nuntil = 2026-01-01T00:00:00Z\nreason = \"over\"\nowner = \"ml\"\n",
        server.url()
    );
    let store = TestStore::new();
    let mut told = String::new();
    let mut tell = |arguments: &[&str]| {
        let at = match arguments.contains(&"--at") {
            true => &[][..],
            false => &ONE_O_CLOCK[..],
        };
        let arguments = [arguments, at].concat();
        let text = run(&store, &settings, &arguments);
        let text = text.replace(&server.address.to_string(), "[server]");
        told.push_str(&format!(
            "$ inferwatch sinks {}\n{text}\n",
            arguments.join(" ")
        ));
    };
    tell(&["list", "--format", "table"]);
    tell(&["list"]);
    tell(&["test", "hook", "--format", "table"]);
    tell(&["test", "broken"]);
    tell(&["test", "hok"]);
    tell(&["deliver", "--at", "2026-11-21T12:00:00Z"]);
    store.commit(&[
        opened("aaaa"),
        Event {
            minute: 1,
            ..opened("bbbb")
        },
    ]);
    tell(&["deliver", "-v"]);
    tell(&["status", "--format", "table"]);
    tell(&["status"]);
    tell(&["replay", "--dead"]);
    tell(&["replay"]);
    tell(&[
        "deliver",
        "--format",
        "table",
        "--at",
        "2026-11-21T13:01:00Z",
    ]);
    tell(&["status", "--at", "2026-11-21T13:02:00Z"]);
    assert_snapshot!(told);
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn without_settings_there_is_a_hint() {
    let store = TestStore::new();
    store.open();
    let output = Command::new(env!("CARGO_BIN_EXE_inferwatch"))
        .args(["--no-config", "sinks", "list"])
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(2));
    assert_snapshot!(String::from_utf8_lossy(&output.stderr));
}

/// The blocks of a page in a language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut rest = page;
    let fence = format!("```{language}\n");
    while let Some((_, after)) = rest.split_once(&fence) {
        let (block, after) = after.split_once("\n```").expect("the block ends");
        blocks.push(block.to_string());
        rest = after;
    }
    blocks
}

#[test]
fn every_example_of_the_page_is_right() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/sinks.md")).expect("is there");
    let examples = blocks(&page, "toml");
    let mut kinds = std::collections::BTreeSet::new();
    for example in &examples {
        // Routes and silences of the page name a sink of another example.
        let mut text = example.clone();
        if !text.contains("[sinks.chat]") && text.contains("\"chat\"") {
            text.push_str("\n[sinks.chat]\nkind = \"file\"\npath = \"x\"\n");
        }
        let settings = Settings::parse(Path::new("inferwatch.toml"), &text);
        let settings = settings.unwrap_or_else(|error| panic!("{error}\n{example}"));
        kinds.extend(settings.sinks.iter().map(|sink| sink.kind.name()));
    }
    assert_eq!(kinds.len(), 8, "{kinds:?}");
    // And what the help shows.
    let help = Command::new(env!("CARGO_BIN_EXE_inferwatch"))
        .args(["sinks", "--help"])
        .output()
        .expect("runs");
    let help = String::from_utf8(help.stdout).expect("text");
    let begin = help.find("    [sinks.chat]").expect("is shown");
    let end = help.find("Examples:").expect("is shown");
    let settings = Settings::parse(Path::new("inferwatch.toml"), &help[begin..end]);
    assert_eq!(settings.expect("is right").routes.len(), 1);
}

/// The function of the page in Python says yes to what is sent, and no to anything else.
#[test]
fn the_page_verifies_signatures() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/sinks.md")).expect("is there");
    let [python] = blocks(&page, "python").try_into().expect("one block");
    let server = Server::new();
    let store = TestStore::new();
    let settings = format!(
        "[sinks.hook]\nkind = \"webhook\"\nurl = \"{}\"\nsecret_env = \"TEST_SINKS_SECRET\"\n",
        server.url()
    );
    run(&store, &settings, &["test", "hook"]);
    let [request] = server.requests().try_into().expect("one");
    let header = request.header("inferwatch-signature").expect("is signed");
    let program = format!(
        "{python}\nimport sys\nheader, body = sys.argv[1], sys.argv[2].encode()\n\
         assert is_genuine(b'very-secret', header, body)\n\
         assert not is_genuine(b'very-secre', header, body)\n\
         assert not is_genuine(b'very-secret', header, body + b' ')\n\
         assert not is_genuine(b'very-secret', header, body, tolerance=-1)\n"
    );
    let checked = Command::new("python3")
        .args(["-c", &program, header, &request.body])
        .output();
    // Where there is no Python, the vector in `webhook` says the same.
    if let Ok(checked) = checked {
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{said}");
    }
}

/// The script that ships takes traffic from the canary, and from nothing else.
#[cfg(unix)]
#[test]
fn a_canary_is_rolled_back() {
    use super::{MINUTE, NOON, pass};
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let store = TestStore::new();
    let folder = store.folder.path();
    let weights = folder.join("weights.txt");
    std::fs::write(&weights, "stable 90\nsvc-canary 10\n").expect("writes");
    let settings = format!(
        "[sinks.rollback]\nkind = \"command\"\ncommand = [\"sh\", \"{}\"]\nfolder = \"{}\"\n\
         [[routes]]\nsinks = [\"rollback\"]\nrules = [\"canary-regression\"]\n",
        root.join("deploy/canary-rollback.sh").display(),
        folder.display()
    );
    // A test does nothing.
    let answer = run(&store, &settings, &["test", "rollback"]);
    assert!(
        answer.contains("a test: nothing is rolled back"),
        "{answer}"
    );
    let mut rules = super::rules();
    rules.retain(|file| file.rule.id == "canary-regression");
    let mut deliverer = store.deliverer_with(&settings, rules);
    pass(&mut deliverer, NOON);
    store.commit(&[
        Event {
            caller: "svc-canary",
            rule: "canary-regression",
            ..opened("aaaa")
        },
        Event {
            caller: "stable",
            ..opened("bbbb")
        },
    ]);
    let [pass] = pass(&mut deliverer, NOON + MINUTE).try_into().expect("one");
    assert_eq!((pass.sent, pass.failed), (1, 0), "{pass:?}");
    let weights = std::fs::read_to_string(&weights).expect("is there");
    assert_eq!(weights, "stable 90\nsvc-canary 0\n");
}
