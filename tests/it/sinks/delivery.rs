//! At least once: what fails is told again, what was acknowledged is not, and no crash, full disk or dead sink makes
//! any difference to that.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use inferwatch::sinks::{Reason, start};
use inferwatch::store::{CompactOptions, SweepOptions};

use super::server::{Identity, MailServer, Server};
use super::{Event, MINUTE, NOON, SECOND, TestStore, block_on, opened, pass, then};

fn webhook(server: &Server) -> String {
    format!(
        "[sinks.hook]\nkind = \"webhook\"\nurl = \"{}\"\nretry_first = \"4s\"\nretry_longest = \"60s\"",
        server.url()
    )
}

/// As many findings, with names of their own.
fn findings(count: usize) -> Vec<Event> {
    let names = (0..count).map(|number| format!("{number:04x}"));
    names.map(|name| opened(name.leak())).collect()
}

#[test]
fn a_new_sink_is_not_told_of_the_past() {
    let server = Server::new();
    let store = TestStore::new();
    store.commit(&[opened("aaaa")]);
    let passes = store.deliver(&webhook(&server), NOON + MINUTE);
    assert_eq!(passes[0].taken, 0);
    assert!(
        passes[0].notes[0]
            .starts_with("sink `hook` is new: it is told of findings from 2026-11-21T12:01:00Z on")
    );
    store.commit(&[Event {
        minute: 2,
        ..opened("bbbb")
    }]);
    let passes = store.deliver(&webhook(&server), NOON + 3 * MINUTE);
    assert_eq!((passes[0].sent, passes[0].notes.len()), (1, 0));
    assert_eq!(server.keys(), ["bbbb.1"]);
    // Unless it is to be.
    let other = Server::new();
    let settings = webhook(&other).replace("sinks.hook", "sinks.other");
    let settings = format!("{settings}\nfrom = 2026-11-21T12:02:00Z");
    store.deliver(&settings, NOON + 4 * MINUTE);
    assert_eq!(other.keys(), ["bbbb.1"]);
}

#[test]
fn nothing_is_told_twice_when_nothing_fails() {
    let server = Server::new();
    let store = TestStore::new();
    store.deliver(&webhook(&server), NOON);
    store.commit(&findings(3));
    for minute in 1..4 {
        store.deliver(&webhook(&server), NOON + minute * MINUTE);
    }
    assert_eq!(server.keys(), ["0000.1", "0001.1", "0002.1"]);
}

#[test]
fn a_sink_that_fails_half_the_time_loses_nothing_and_doubles_only_what_it_did_not_acknowledge() {
    // It keeps every request; every second one it then denies, or says nothing at all.
    let mut count = 0;
    let server = Server::answering(move |_| {
        count += 1;
        match count % 4 {
            1 => Some((500, String::new())),
            3 => None,
            _ => Some((200, String::new())),
        }
    });
    let store = TestStore::new();
    let settings = webhook(&server);
    store.deliver(&settings, NOON);
    let told = findings(20);
    let mut expected: Vec<String> = told.iter().map(|event| format!("{}.1", event.id)).collect();
    store.commit(&told);
    let resolved: Vec<Event> = told.iter().map(|event| then(event, "resolved")).collect();
    let (mut sent, mut failed, mut now) = (0, 0, NOON + MINUTE);
    for round in 0..200 {
        if round == 5 {
            store.commit(&resolved);
            expected.extend(resolved.iter().map(|event| format!("{}.2", event.id)));
        }
        let [pass] = store.deliver(&settings, now).try_into().expect("one sink");
        (sent, failed) = (sent + pass.sent, failed + pass.failed);
        now += 10 * SECOND;
        if round > 5 && pass.pending == 0 {
            break;
        }
    }
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for key in server.keys() {
        *times.entry(key).or_default() += 1;
    }
    expected.sort();
    assert_eq!(times.keys().cloned().collect::<Vec<_>>(), expected);
    assert_eq!(sent, 40);
    // Every request that was not acknowledged is one that was made again.
    assert_eq!(times.values().sum::<usize>(), sent + failed);
    assert!(failed >= 30, "{failed}");
    // Of one finding the end never comes before the beginning.
    let keys = server.keys();
    for event in &told {
        let place = |revision: i64| {
            let key = format!("{}.{revision}", event.id);
            keys.iter().position(|known| *known == key)
        };
        assert!(place(1) < place(2));
    }
}

#[test]
fn pauses_grow_and_then_it_is_given_up() {
    let server = Server::answering(|_| Some((503, String::new())));
    let store = TestStore::new();
    let settings = format!("{}\nattempts = 4", webhook(&server));
    let mut deliverer = store.deliverer(&settings);
    pass(&mut deliverer, NOON);
    store.commit(&[opened("aaaa")]);
    let mut now = NOON + MINUTE;
    let mut pauses = Vec::new();
    loop {
        let [pass] = pass(&mut deliverer, now).try_into().expect("one sink");
        match pass.next {
            Some(next) => {
                pauses.push(next - now);
                // Not before its time.
                let before = super::pass(&mut deliverer, next - 1);
                assert_eq!((before[0].failed, before[0].dead), (0, 0));
                now = next;
            }
            None => {
                assert_eq!(pass.dead, 1);
                break;
            }
        }
    }
    assert_eq!(server.requests().len(), 4);
    for (pause, whole) in pauses.iter().zip([4, 8, 16]) {
        assert!(
            (whole * SECOND / 2..=whole * SECOND).contains(pause),
            "{pauses:?}"
        );
    }
    // The seed decides, so another process waits as long.
    let again = {
        let server = Server::answering(|_| Some((503, String::new())));
        let store = TestStore::new();
        let mut deliverer = store.deliverer(&webhook(&server));
        pass(&mut deliverer, NOON);
        store.commit(&[opened("aaaa")]);
        let [pass] = pass(&mut deliverer, NOON + MINUTE).try_into().expect("one");
        pass.next.expect("again") - NOON - MINUTE
    };
    assert_eq!(again, pauses[0]);
    // An end of what was never told is told to nobody.
    store.commit(&[then(&opened("aaaa"), "resolved")]);
    let [last] = pass(&mut deliverer, now + 5 * MINUTE)
        .try_into()
        .expect("one");
    assert_eq!((last.taken, last.pending), (0, 0));
}

#[test]
fn who_wants_to_be_left_alone_is() {
    let server = Server::busy_for(90);
    let store = TestStore::new();
    let mut deliverer = store.deliverer(&webhook(&server));
    pass(&mut deliverer, NOON);
    store.commit(&[opened("aaaa"), opened("bbbb")]);
    let [first] = pass(&mut deliverer, NOON + MINUTE)
        .try_into()
        .expect("one sink");
    let next = first.next.expect("again");
    assert!(next >= NOON + MINUTE + 90 * SECOND, "{next}");
    let [before] = pass(&mut deliverer, next - 1).try_into().expect("one sink");
    assert_eq!((before.failed, before.dead), (0, 0));
    assert_eq!(server.requests().len(), 1, "the other waits as well");
}

#[test]
fn a_sink_inside_tls_is_told_only_when_its_authority_is_known() {
    let identity = Identity::of("localhost");
    let server = Server::inside_tls(&identity);
    let store = TestStore::new();
    let authority = store.folder.path().join("authority.pem");
    std::fs::write(&authority, &identity.certificate).expect("written");
    let settings = format!(
        "[sinks.hook]\nkind = \"webhook\"\nurl = \"{}\"\n",
        server.tls_url("localhost")
    );
    let mut deliverer = store.deliverer(&settings);
    pass(&mut deliverer, NOON);
    store.commit(&[opened("aaaa")]);
    let [refused] = pass(&mut deliverer, NOON + MINUTE)
        .try_into()
        .expect("one sink");
    assert_eq!((refused.failed, refused.sent), (1, 0));
    assert_eq!(server.requests().len(), 0);
    let known = format!("{settings}ca_file = \"{}\"\n", authority.display());
    let mut deliverer = store.deliverer(&known);
    let [told] = pass(&mut deliverer, NOON + 60 * MINUTE)
        .try_into()
        .expect("one sink");
    assert_eq!((told.failed, told.sent), (0, 1));
    assert_eq!(server.keys(), ["aaaa.1"]);
}

#[test]
fn what_was_given_up_can_be_told_again() {
    let mut works = false;
    let server = Server::answering(move |request| {
        let was = works;
        works = true;
        // It does not like the first one.
        let _ = request;
        Some((if was { 200 } else { 422 }, String::new()))
    });
    let store = TestStore::new();
    let settings = webhook(&server);
    let mut deliverer = store.deliverer(&settings);
    pass(&mut deliverer, NOON);
    store.commit(&[opened("aaaa")]);
    let [first] = pass(&mut deliverer, NOON + MINUTE).try_into().expect("one");
    assert_eq!((first.dead, first.pending), (1, 0));
    assert_eq!(first.failures[0].reason, Reason::Refused);
    {
        let states = deliverer.states().expect("reads");
        let [(_, state)] = states.as_slice() else {
            panic!("one")
        };
        let dead: Vec<_> = state.dead().map(|item| item.key()).collect();
        assert_eq!(dead, [("aaaa".to_string(), 1)]);
    }
    // By another process, as a person would.
    let mut other = store.deliverer(&settings);
    let replayed = block_on(other.replay(None, true, None, NOON + 2 * MINUTE)).expect("replays");
    assert_eq!(replayed, [("hook".to_string(), 1)]);
    let [second] = pass(&mut deliverer, NOON + 3 * MINUTE)
        .try_into()
        .expect("one");
    assert_eq!((second.sent, second.pending), (1, 0));
    // A finding that was told can be told again by name.
    let named = block_on(other.replay(Some("hook"), false, Some("aaaa"), NOON + 4 * MINUTE));
    assert_eq!(named.expect("replays"), [("hook".to_string(), 1)]);
    pass(&mut deliverer, NOON + 5 * MINUTE);
    assert_eq!(server.keys(), ["aaaa.1", "aaaa.1", "aaaa.1"]);
}

#[test]
fn a_finding_that_is_refused_keeps_no_other_waiting() {
    let server = Server::answering(|request| match request.keys()[0].as_str() {
        "0001.1" => Some((500, String::new())),
        "0002.1" => Some((400, String::new())),
        _ => Some((200, String::new())),
    });
    let store = TestStore::new();
    let mut deliverer = store.deliverer(&webhook(&server));
    pass(&mut deliverer, NOON);
    store.commit(&findings(5));
    let [pass] = pass(&mut deliverer, NOON + MINUTE).try_into().expect("one");
    assert_eq!(
        (pass.sent, pass.failed, pass.dead, pass.pending),
        (3, 1, 1, 1)
    );
}

#[test]
fn a_mail_server_that_has_no_time_is_asked_again() {
    let server = MailServer::new(Some("451 later"));
    let store = TestStore::new();
    let settings = format!(
        "[sinks.mail]\nkind = \"email\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\n\
         sender = \"iw@example.com\"\nto = \"soc@example.com\"",
        server.port
    );
    let mut deliverer = store.deliverer(&settings);
    pass(&mut deliverer, NOON);
    store.commit(&[opened("aaaa")]);
    let [pass] = pass(&mut deliverer, NOON + MINUTE).try_into().expect("one");
    assert_eq!(pass.failed, 1);
    assert_eq!(pass.failures[0].reason, Reason::Broken);
}

#[test]
fn findings_are_found_when_their_files_were_written_anew_meanwhile() {
    let server = Server::new();
    let store = TestStore::new();
    let settings = webhook(&server);
    store.deliver(&settings, NOON);
    let told = findings(6);
    for event in &told[..3] {
        store.commit(std::slice::from_ref(event));
    }
    store.deliver(&settings, NOON + MINUTE);
    for event in &told[3..] {
        store.commit(std::slice::from_ref(event));
    }
    let opened = store.open();
    let later = NOON + 40 * 86_400 * SECOND;
    let options = CompactOptions {
        at: later,
        ..CompactOptions::default()
    };
    let tasks = opened.plan_compaction(&options).expect("a plan");
    assert!(opened.compact(tasks, &options).expect("compacts").periods > 0);
    let sweep = SweepOptions {
        at: chrono::Utc::now().timestamp_micros() + 30 * 86_400 * SECOND,
        ..SweepOptions::default()
    };
    assert!(opened.sweep(&sweep).expect("sweeps").files > 0);
    store.deliver(&settings, NOON + 2 * MINUTE);
    let expected: Vec<String> = told.iter().map(|event| format!("{}.1", event.id)).collect();
    assert_eq!(server.keys(), expected);
}

/// The program is killed while the other side has a finding and has not said so.
#[test]
fn a_kill_between_sending_and_acknowledging_doubles_that_one_alone() {
    let store = TestStore::new();
    let (arrived, arrivals) = mpsc::channel::<()>();
    let (allow, allowed) = mpsc::channel::<()>();
    let mut count = 0;
    let server = Server::answering(move |_| {
        count += 1;
        if count % 3 == 0 {
            let _ = arrived.send(());
            let _ = allowed.recv();
            return None;
        }
        Some((200, String::new()))
    });
    let config = store.folder.path().join("inferwatch.toml");
    std::fs::write(&config, webhook(&server)).expect("writes");
    let program = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_inferwatch"));
        command
            .arg("--config")
            .arg(&config)
            .arg("--store")
            .arg(store.folder.path().join("store"))
            .args(["sinks", "deliver", "--at", "2026-11-21T12:10:00Z"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    };
    store.open();
    assert!(program().status().expect("runs").success());
    store.commit(&findings(7));
    // Requests 3, 6 and 9 are not acknowledged; then there is nothing left.
    for _ in 0..3 {
        let mut child = program().spawn().expect("starts");
        arrivals.recv().expect("the third request");
        child.kill().expect("is killed");
        child.wait().expect("has ended");
        allow.send(()).expect("the server waits");
    }
    assert!(program().status().expect("runs").success());
    assert_eq!(
        server.keys(),
        [
            "0000.1", "0001.1", "0002.1", "0002.1", "0003.1", "0004.1", "0004.1", "0005.1",
            "0006.1", "0006.1"
        ]
    );
}

#[test]
fn a_dead_sink_keeps_no_other_waiting() {
    let store = TestStore::new();
    // It takes the connection and never says a word.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let (arrived, arrivals) = mpsc::channel();
    let server = Server::answering(move |request| {
        let _ = arrived.send(request.keys());
        Some((200, String::new()))
    });
    let settings = format!(
        "{}\n[sinks.dead]\nkind = \"webhook\"\nurl = \"http://{}/\"\ntimeout = \"1h\"",
        webhook(&server),
        dead.local_addr().expect("an address")
    );
    let mut deliverer = store.deliverer(&settings);
    block_on(deliverer.begin(NOON)).expect("begins");
    let running = start(deliverer, |_| {}).expect("starts");
    for event in findings(3) {
        let key = format!("{}.1", event.id);
        store.commit(&[event]);
        assert_eq!(arrivals.recv(), Ok(vec![key]));
    }
    // It is at the first still.
    drop(dead.accept().expect("a connection"));
    running.stop();
    let mut deliverer = store.deliverer(&settings);
    // What came while it was at the first, it has not seen yet.
    block_on(deliverer.begin(NOON)).expect("looks");
    let states = deliverer.states().expect("reads");
    let pending: BTreeMap<&str, usize> = states
        .iter()
        .map(|(name, state)| (*name, state.pending().count()))
        .collect();
    assert_eq!(pending, BTreeMap::from([("hook", 0), ("dead", 3)]));
}

#[test]
fn what_is_no_longer_in_the_store_is_told_to_nobody() {
    let server = Server::answering(|_| Some((500, String::new())));
    let store = TestStore::new();
    let settings = webhook(&server);
    store.deliver(&settings, NOON);
    store.commit(&[opened("aaaa")]);
    store.deliver(&settings, NOON + MINUTE);
    // As an erasure or the end of its time would have it.
    std::fs::remove_dir_all(store.folder.path().join("store/findings")).expect("removes");
    let [pass] = store
        .deliver(&settings, NOON + 10 * MINUTE)
        .try_into()
        .expect("one");
    assert_eq!((pass.dropped, pass.pending), (1, 0));
    assert_eq!(server.requests().len(), 1);
    // The outbox never held more than its name.
    let outbox = std::fs::read_to_string(store.folder.path().join("store/sinks/hook"));
    let outbox = outbox.expect("is there");
    assert!(
        outbox.contains("aaaa") && !outbox.contains("svc-a"),
        "{outbox}"
    );
}
