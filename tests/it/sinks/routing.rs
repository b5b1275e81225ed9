//! Who is told of what, and when: routes, silences, maintenance windows, groups, and what the settings refuse.

use std::path::Path;

use inferwatch::sinks::Settings;

use super::server::Server;
use super::{Event, MINUTE, NOON, TestStore, opened, pass, rules, then};

fn hook(name: &str, server: &Server) -> String {
    format!(
        "[sinks.{name}]\nkind = \"webhook\"\nurl = \"{}\"\n",
        server.url()
    )
}

#[test]
fn routes_lead_by_severity_rule_tag_and_subject() {
    let (high, bedrock, tagged, subject) =
        (Server::new(), Server::new(), Server::new(), Server::new());
    let settings = [
        hook("high", &high),
        hook("rule", &bedrock),
        hook("tag", &tagged),
        hook("subject", &subject),
        "[[routes]]\nsinks = [\"high\"]\nseverity = \"high\"\n".into(),
        "[[routes]]\nsinks = [\"rule\"]\nrules = [\"prompt-*\"]\n".into(),
        "[[routes]]\nsinks = [\"tag\"]\ntags = [\"money\"]\n".into(),
        "[[routes]]\nsinks = [\"subject\"]\nentity = { caller = \"svc-*\" }\nseverity = \"low\"\n"
            .into(),
    ]
    .concat();
    let store = TestStore::new();
    let mut rules = rules();
    let burn = rules.iter_mut().find(|file| file.rule.id == "token-burn");
    burn.expect("ships").rule.tags = vec!["money".into()];
    let mut deliverer = store.deliverer_with(&settings, rules);
    pass(&mut deliverer, NOON);
    store.commit(&[
        opened("aaaa"),
        Event {
            rule: "prompt-injection-hourly",
            severity: "medium",
            ..opened("bbbb")
        },
        Event {
            rule: "large-outputs",
            severity: "info",
            ..opened("cccc")
        },
        Event {
            caller: "person",
            severity: "critical",
            rule: "denied-models",
            ..opened("dddd")
        },
    ]);
    pass(&mut deliverer, NOON + MINUTE);
    assert_eq!(high.keys(), ["aaaa.1", "dddd.1"]);
    assert_eq!(bedrock.keys(), ["bbbb.1"]);
    assert_eq!(tagged.keys(), ["aaaa.1"]);
    assert_eq!(subject.keys(), ["aaaa.1", "bbbb.1"]);
}

#[test]
fn a_rule_may_name_its_sinks_itself() {
    let (routed, named) = (Server::new(), Server::new());
    let settings = [
        hook("routed", &routed),
        hook("named", &named),
        "[[routes]]\nsinks = [\"routed\"]\nseverity = \"critical\"\n".into(),
    ]
    .concat();
    let store = TestStore::new();
    let mut rules = rules();
    let burn = rules.iter_mut().find(|file| file.rule.id == "token-burn");
    burn.expect("ships").rule.sinks = vec!["named".into(), "nowhere".into()];
    let mut deliverer = store.deliverer_with(&settings, rules);
    assert_eq!(
        deliverer.remarks(NOON),
        ["rule `token-burn` names a sink `nowhere`, and there is none"]
    );
    pass(&mut deliverer, NOON);
    store.commit(&[
        opened("aaaa"),
        Event {
            rule: "large-outputs",
            ..opened("bbbb")
        },
    ]);
    pass(&mut deliverer, NOON + MINUTE);
    assert_eq!(named.keys(), ["aaaa.1"]);
    assert_eq!(routed.keys(), [""; 0]);
}

#[test]
fn an_end_is_told_where_the_beginning_was() {
    let (all, critical) = (Server::new(), Server::new());
    let settings = [
        hook("all", &all),
        hook("critical", &critical),
        "[[routes]]\nsinks = [\"all\"]\n[[routes]]\nsinks = [\"critical\"]\nseverity = \"critical\"\n".into(),
    ]
    .concat();
    let store = TestStore::new();
    let mut deliverer = store.deliverer(&settings);
    pass(&mut deliverer, NOON);
    let first = opened("aaaa");
    let over = then(&first, "resolved");
    store.commit(std::slice::from_ref(&first));
    pass(&mut deliverer, NOON + MINUTE);
    store.commit(&[over]);
    pass(&mut deliverer, NOON + 6 * MINUTE);
    // Another is taken back before anybody was told.
    let first = Event {
        minute: 10,
        ..opened("bbbb")
    };
    store.commit(&[first.clone(), then(&first, "retracted")]);
    let [of_all, _] = pass(&mut deliverer, NOON + 20 * MINUTE)
        .try_into()
        .expect("two");
    assert_eq!(of_all.dropped, 2);
    // And one becomes bad enough while it goes on: to whom it is new, it opens.
    let first = Event {
        minute: 30,
        ..opened("cccc")
    };
    let worse = Event {
        severity: "critical",
        ..then(&first, "updated")
    };
    store.commit(&[first, worse.clone(), then(&worse, "resolved")]);
    pass(&mut deliverer, NOON + 50 * MINUTE);
    assert_eq!(
        all.keys(),
        ["aaaa.1", "aaaa.2", "cccc.1", "cccc.2", "cccc.3"]
    );
    assert_eq!(critical.keys(), ["cccc.2", "cccc.3"]);
}

#[test]
fn who_is_suppressed_is_not_told_until_it_is_worse() {
    let server = Server::new();
    let store = TestStore::new();
    let settings = hook("all", &server);
    store.deliver(&settings, NOON);
    let first = Event {
        suppressed: true,
        ..opened("aaaa")
    };
    let worse = Event {
        suppressed: false,
        severity: "critical",
        ..then(&first, "updated")
    };
    store.commit(std::slice::from_ref(&first));
    store.deliver(&settings, NOON + MINUTE);
    assert_eq!(server.keys(), [""; 0]);
    store.commit(&[worse]);
    store.deliver(&settings, NOON + 6 * MINUTE);
    assert_eq!(server.keys(), ["aaaa.2"]);
}

#[test]
fn only_what_is_asked_for_is_told_but_a_rise_always() {
    let server = Server::new();
    let store = TestStore::new();
    let settings = format!("{}events = [\"opened\"]\n", hook("some", &server));
    let mut deliverer = store.deliverer(&settings);
    pass(&mut deliverer, NOON);
    let one = opened("aaaa");
    let two = then(&one, "updated");
    let three = Event {
        severity: "critical",
        ..then(&two, "updated")
    };
    let four = then(&three, "resolved");
    for (minute, event) in [one, two, three, four].into_iter().enumerate() {
        store.commit(&[event]);
        pass(&mut deliverer, NOON + (1 + minute as i64) * MINUTE);
    }
    assert_eq!(server.keys(), ["aaaa.1", "aaaa.3"]);
}

#[test]
fn a_silence_holds_back_and_what_goes_on_is_told_when_it_ends() {
    let server = Server::new();
    let store = TestStore::new();
    let settings = format!(
        "{}[[silences]]\nrules = [\"token-*\"]\nup_to = \"high\"\nuntil = 2026-11-21T13:00:00Z\n\
         reason = \"load test\"\nowner = \"ml\"\n",
        hook("all", &server)
    );
    let mut deliverer = store.deliverer(&settings);
    pass(&mut deliverer, NOON);
    let (goes_on, ends) = (
        opened("aaaa"),
        Event {
            minute: 1,
            ..opened("bbbb")
        },
    );
    let other = Event {
        rule: "denied-models",
        ..opened("cccc")
    };
    let worse = Event {
        severity: "critical",
        ..opened("dddd")
    };
    store.commit(&[goes_on.clone(), ends.clone(), other, worse]);
    let [first] = pass(&mut deliverer, NOON + 2 * MINUTE)
        .try_into()
        .expect("one");
    assert_eq!((first.sent, first.held), (2, 2));
    store.commit(&[then(&goes_on, "updated"), then(&ends, "resolved")]);
    for minute in [10, 20, 59] {
        pass(&mut deliverer, NOON + minute * MINUTE);
    }
    assert_eq!(server.keys(), ["cccc.1", "dddd.1"]);
    // Not even by a process that knows nothing but the store.
    let [last] = store
        .deliver(&settings, NOON + 60 * MINUTE)
        .try_into()
        .expect("one");
    assert_eq!((last.sent, last.pending), (2, 0));
    assert_eq!(server.keys(), ["cccc.1", "dddd.1", "aaaa.1", "aaaa.2"]);
    // It is said that the silence has ended.
    assert_eq!(
        deliverer.remarks(NOON + 60 * MINUTE),
        ["the silence in line 4 ended at 2026-11-21T13:00:00Z: \"load test\" of ml; take it out"]
    );
}

#[test]
fn maintenance_holds_back_for_the_sinks_that_it_names() {
    let (quiet, loud) = (Server::new(), Server::new());
    let settings = [
        hook("quiet", &quiet),
        hook("loud", &loud),
        // Noon of 2026-11-21, a Saturday.
        "[[maintenance]]\nsinks = [\"quiet\"]\ndays = [\"sat\"]\nstart = \"11:00\"\nlasts = \"2h\"\n\
         reason = \"upgrade\"\nowner = \"ops\"\n"
            .into(),
    ]
    .concat();
    let store = TestStore::new();
    let mut deliverer = store.deliverer(&settings);
    pass(&mut deliverer, NOON);
    store.commit(&[opened("aaaa")]);
    pass(&mut deliverer, NOON + MINUTE);
    assert_eq!((quiet.keys().len(), loud.keys().len()), (0, 1));
    pass(&mut deliverer, NOON + 60 * MINUTE);
    assert_eq!(quiet.keys(), ["aaaa.1"]);
}

#[test]
fn a_group_waits_and_goes_out_as_one() {
    let server = Server::new();
    let settings = format!(
        "{}[[routes]]\nsinks = [\"all\"]\ngroup_by = [\"rule\"]\ngroup_wait = \"2m\"\n",
        hook("all", &server)
    );
    let store = TestStore::new();
    let mut deliverer = store.deliverer(&settings);
    pass(&mut deliverer, NOON);
    store.commit(&[
        opened("aaaa"),
        Event {
            rule: "denied-models",
            ..opened("bbbb")
        },
    ]);
    pass(&mut deliverer, NOON + MINUTE);
    store.commit(&[Event {
        caller: "svc-b",
        ..opened("cccc")
    }]);
    pass(&mut deliverer, NOON + 2 * MINUTE);
    assert_eq!(server.requests().len(), 0);
    // The first of the group has waited long enough; the last goes with it.
    pass(&mut deliverer, NOON + 3 * MINUTE);
    let requests = server.requests();
    let told: Vec<_> = requests
        .iter()
        .map(|request| (request.json()["group"]["rule"].to_string(), request.keys()))
        .collect();
    assert_eq!(
        told,
        [
            (
                "\"token-burn\"".to_string(),
                vec!["aaaa.1".to_string(), "cccc.1".to_string()]
            ),
            ("\"denied-models\"".to_string(), vec!["bbbb.1".to_string()]),
        ]
    );
}

/// What the settings say is wrong, and what to do about it.
fn fault(text: &str) -> String {
    let error = Settings::parse(Path::new("inferwatch.toml"), text).expect_err("is wrong");
    let hint = error.hint().map(|hint| format!(" | {hint}"));
    format!("{error}{}", hint.unwrap_or_default())
}

#[test]
fn wrong_settings_say_where_and_what() {
    let faults: Vec<String> = [
        "[sinks.a]\nkind = \"slak\"",
        "[sinks.a]\nkind = \"slack\"\nurl = \"https://hooks.example/x\"",
        "[sinks.a]\nkind = \"webhook\"\nurl = \"https://user:pw@example.com/\"",
        "[sinks.a]\nkind = \"webhook\"\nurl = \"http://example.com/\"\nbearer_env = \"TOKEN\"",
        "[sinks.a]\nkind = \"webhook\"\nurl = \"https://example.com/\"\nsecret = \"x\"",
        "[sinks.a]\nkind = \"webhook\"\nurl = \"https://example.com/\"\nheaders = { authorization = \"x\" }",
        "[sinks.a]\nkind = \"webhook\"\nurl = \"https://example.com/\"\ntimout = \"5s\"",
        "[sinks.a]\nkind = \"file\"",
        "[sinks.a]\nkind = \"email\"\nhost = \"mail.example.com\"\ntls = \"none\"\nsender = \"a@b.c\"\nto = \"d@e.f\"",
        "[sinks.a]\nkind = \"syslog\"\naddress = \"host\"",
        "[sinks.a]\nkind = \"command\"\ncommand = \"rm -rf\"",
        "[sinks.a]\nkind = \"file\"\npath = \"x\"\nevents = [\"open\"]",
        "[sinks.\"a b\"]\nkind = \"file\"\npath = \"x\"",
        "[sinks.chat]\nkind = \"file\"\npath = \"x\"\n[[routes]]\nsinks = [\"chatt\"]",
        "[[routes]]\nseverity = \"high\"",
        "[[silences]]\nuntil = 2026-01-01T00:00:00Z\nreason = \"r\"\nowner = \"o\"",
        "[[silences]]\nrules = [\"x\"]\nuntil = 2026-01-01T00:00:00Z\nreason = \"r\"",
        "[[maintenance]]\ndays = [\"sunday\"]\nstart = \"02:00\"\nlasts = \"1h\"\nreason = \"r\"\nowner = \"o\"",
        "[[maintenance]]\nfrom = 2026-01-01T00:00:00Z\nreason = \"r\"\nowner = \"o\"",
        "sinks = 1",
    ]
    .into_iter()
    .map(fault)
    .collect();
    insta::assert_snapshot!(faults.join("\n"));
}
