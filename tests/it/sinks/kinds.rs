//! What each kind of sink sends, with a finding that is full of what strangers write.

use insta::assert_snapshot;

use super::server::{Connections, Datagrams, MailServer, Server};
use super::{Event, HOSTILE, MINUTE, NOON, TestStore, opened, pass, then};

/// A finding whose every text is hostile.
fn hostile() -> Event {
    Event {
        caller: HOSTILE,
        title: HOSTILE,
        evidence: "{\"caller\":\"<img onerror=alert(1)>\\r\\n.\\r\\n@channel\",\"total_tokens\":500001}",
        ..opened("aaaa")
    }
}

/// Begins before the finding, and tells it with what came after.
fn tell(settings: &str, events: &[Event]) -> TestStore {
    let store = TestStore::new();
    let mut deliverer = store.deliverer(settings);
    pass(&mut deliverer, NOON - MINUTE);
    store.commit(events);
    for pass in pass(&mut deliverer, NOON + 30 * MINUTE) {
        assert_eq!(pass.failures, [], "{pass:?}");
        assert_eq!(pass.pending, 0);
    }
    store
}

fn pretty(value: &serde_json::Value) -> String {
    serde_json::to_string_pretty(value).expect("JSON")
}

fn lifecycle() -> [Event; 3] {
    let first = hostile();
    let second = Event {
        severity: "critical",
        ..then(&first, "updated")
    };
    let third = then(&second, "resolved");
    [first, second, third]
}

#[test]
fn a_webhook_gets_json() {
    let server = Server::new();
    tell(
        &format!(
            "[sinks.hook]\nkind = \"webhook\"\nurl = \"{}\"\nlink = \"https://iw.example/findings/{{finding}}\"\n\
             headers = {{ \"x-team\" = \"red\" }}",
            server.url()
        ),
        &[hostile()],
    );
    let [request] = server.requests().try_into().expect("one");
    assert_eq!(request.path, "/hook");
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("x-team"), Some("red"));
    assert_eq!(request.header("inferwatch-delivery"), Some("aaaa.1"));
    assert_eq!(request.header("inferwatch-signature"), None);
    assert_snapshot!(pretty(&request.json()));
}

#[test]
fn a_template_cannot_be_broken_out_of() {
    let server = Server::new();
    tell(
        &format!(
            "[sinks.hook]\nkind = \"webhook\"\nurl = \"{}\"\ntemplate = '''\n\
             {{\"count\": {{{{ count }}}}, \"who\": {{{{ findings[0].entity.caller }}}}, \"what\": {{{{ findings[0].title }}}}}}'''",
            server.url()
        ),
        &[hostile()],
    );
    let [request] = server.requests().try_into().expect("one");
    assert_eq!(
        request.json(),
        serde_json::json!({ "count": 1, "who": HOSTILE, "what": HOSTILE })
    );
}

#[test]
fn slack_gets_blocks_in_which_nothing_is_markup() {
    let server = Server::new();
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("url");
    std::fs::write(&secret, format!("{}\n", server.url())).expect("writes");
    tell(
        &format!(
            "[sinks.chat]\nkind = \"slack\"\nurl_file = \"{}\"\nlink = \"https://iw.example/f?id={{finding}}&x=1\"",
            secret.display()
        ),
        &lifecycle(),
    );
    let requests = server.requests();
    // Opened, worse, and over.
    assert_eq!(requests.len(), 3);
    let first = requests[0].json();
    let text = first["text"].as_str().expect("a text");
    for markup in ["<", ">", "@channel", "`rm", "\n", "\u{1b}"] {
        assert!(!text.contains(markup), "{text}");
    }
    // Wherever else the finding's words are, no markup is read.
    let mut markup = Vec::new();
    objects(&first["blocks"], &mut |object| {
        if object["type"] == "mrkdwn" {
            markup.push(object["text"].clone());
        }
    });
    assert_eq!(markup, ["<https://iw.example/f?id=aaaa&amp;x=1|open>"]);
    let blocks = &first["blocks"];
    let kinds = ["header", "section", "context"];
    assert!(
        kinds
            .iter()
            .enumerate()
            .all(|(index, kind)| blocks[index]["type"] == *kind)
    );
    assert_eq!(blocks[0]["text"]["type"], "plain_text");
    let fields = blocks[1]["fields"].as_array().expect("fields");
    assert!(fields.iter().all(|field| field["type"] == "plain_text"));
    assert_eq!(fields[0]["text"], "severity: high (opened)");
    assert_eq!(fields[2]["text"], "events: 7");
    assert_eq!(
        fields[3]["text"],
        "seen: 2026-11-21T11:30:00Z to 2026-11-21T11:54:00Z"
    );
    assert_eq!(blocks[2]["elements"][0]["text"], "token-burn · aaaa · 1");
    let headers = requests.iter().map(|request| {
        let body = request.json();
        body["blocks"][0]["text"]["text"]
            .as_str()
            .expect("a text")
            .to_string()
    });
    let headers: Vec<String> = headers.collect();
    assert!(
        headers[0].starts_with("[HIGH] <img onerror=alert(1)> @channel"),
        "{headers:?}"
    );
    assert!(headers[1].starts_with("[CRITICAL] <img"), "{headers:?}");
    assert!(headers[2].contains(" (resolved): <img"), "{headers:?}");
}

fn objects(value: &serde_json::Value, see: &mut impl FnMut(&serde_json::Value)) {
    match value {
        serde_json::Value::Array(items) => items.iter().for_each(|item| objects(item, see)),
        serde_json::Value::Object(fields) => {
            see(value);
            fields.values().for_each(|field| objects(field, see));
        }
        _ => {}
    }
}

#[test]
fn pagerduty_is_triggered_and_resolved_by_finding() {
    let server = Server::answering(|_| Some((202, "{\"status\":\"success\"}".into())));
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("key");
    std::fs::write(&secret, "0123456789abcdef").expect("writes");
    tell(
        &format!(
            "[sinks.pager]\nkind = \"pagerduty\"\nurl = \"{}\"\nrouting_key_file = \"{}\"",
            server.url(),
            secret.display()
        ),
        &lifecycle(),
    );
    let bodies: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.json())
        .collect();
    let told: Vec<_> = bodies
        .iter()
        .map(|body| (body["event_action"].as_str(), body["dedup_key"].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (Some("trigger"), Some("aaaa")),
            (Some("trigger"), Some("aaaa")),
            (Some("resolve"), Some("aaaa")),
        ]
    );
    let payload = &bodies[0]["payload"];
    assert_eq!(payload["severity"], "error");
    assert_eq!(payload["source"], HOSTILE);
    assert_eq!(payload["component"], "token-burn");
    assert_eq!(payload["class"], "LLM10:2025");
    assert_eq!(payload["timestamp"], "2026-11-21T11:30:00Z");
    assert_eq!(payload["custom_details"]["key"], "aaaa.1");
    let summary = payload["summary"].as_str().expect("a text");
    assert!(!summary.contains(|c: char| c.is_control()), "{summary}");
    assert_eq!(bodies[1]["payload"]["severity"], "critical");
    assert_eq!(
        bodies[2],
        serde_json::json!({
            "routing_key": "0123456789abcdef",
            "event_action": "resolve",
            "dedup_key": "aaaa",
            "client": "inferwatch",
        })
    );
}

#[test]
fn an_alert_of_alertmanager_ends_with_its_finding_and_its_severity() {
    let server = Server::new();
    tell(
        &format!(
            "[sinks.am]\nkind = \"alertmanager\"\nurl = \"http://{}/am/\"\nlabels = {{ team = \"ml\" }}\nlasts = \"1d\"",
            server.address
        ),
        &lifecycle(),
    );
    let requests = server.requests();
    assert!(
        requests
            .iter()
            .all(|request| request.path == "/am/api/v2/alerts")
    );
    let bodies: Vec<_> = requests.iter().map(|request| request.json()).collect();
    // Of the alert with the old severity nothing is left standing.
    let mut standing = std::collections::BTreeMap::new();
    for alert in bodies
        .iter()
        .flat_map(|body| body.as_array().expect("a list"))
    {
        let ends = alert["endsAt"].as_str().expect("a time").to_string();
        standing.insert(alert["labels"].to_string(), ends);
    }
    assert_eq!(standing.len(), 2);
    assert!(standing.values().all(|ends| ends == "2026-11-21T12:30:00Z"));
    assert_snapshot!(pretty(&bodies.into()));
}

#[test]
fn a_file_gets_a_line_for_each_revision() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out").join("findings.ndjson");
    let settings = format!(
        "[sinks.file]\nkind = \"file\"\npath = \"{}\"",
        path.display()
    );
    let store = tell(&settings, &lifecycle());
    let text = std::fs::read_to_string(&path).expect("is there");
    let keys = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(line["key"].as_str()?.to_string())
        });
        lines.flatten().collect()
    };
    assert_eq!(keys(&text), ["aaaa.1", "aaaa.2", "aaaa.3"]);
    // A line that a crash cut off does not spoil the next.
    std::fs::write(&path, format!("{text}{{\"key\":\"aa")).expect("writes");
    store.commit(&[Event {
        minute: 31,
        ..opened("bbbb")
    }]);
    store.deliver(&settings, NOON + 40 * MINUTE);
    let text = std::fs::read_to_string(&path).expect("is there");
    assert_eq!(keys(&text), ["aaaa.1", "aaaa.2", "aaaa.3", "bbbb.1"]);
}

#[test]
fn a_file_gets_ocsf_detection_findings() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("findings.json");
    tell(
        &format!(
            "[sinks.siem]\nkind = \"file\"\npath = \"{}\"\nformat = \"ocsf\"",
            path.display()
        ),
        &lifecycle(),
    );
    let text = std::fs::read_to_string(&path).expect("is there");
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    // type_uid = class_uid * 100 + activity_id, as the framework defines it.
    let types: Vec<_> = lines.iter().map(|line| line["type_uid"].as_i64()).collect();
    assert_eq!(types, [Some(200_401), Some(200_402), Some(200_403)]);
    let version = format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION"));
    let text = pretty(&lines.into());
    assert_snapshot!(text.replace(&version, "\"version\": \"[version]\""));
}

#[test]
fn syslog_is_one_line_whatever_is_in_it() {
    let datagrams = Datagrams::new();
    let connections = Connections::new();
    tell(
        &format!(
            "[sinks.udp]\nkind = \"syslog\"\naddress = \"udp://{}\"\nhostname = \"host\"\nfacility = \"auth\"\n\
             [sinks.tcp]\nkind = \"syslog\"\naddress = \"tcp://{}\"\nhostname = \"host\"\napp = \"iw\"",
            datagrams.address(),
            connections.address
        ),
        &[hostile()],
    );
    let text = String::from_utf8(datagrams.next()).expect("text");
    // 4 * 8 + 3: auth, error.
    assert!(text.starts_with(
        "<35>1 2026-11-21T12:30:00.000000Z host inferwatch - opened [inferwatch@32473 "
    ));
    assert!(!text.contains(['\n', '\r', '\u{1b}', '\u{202e}']));
    // The quote, the bracket and the backslash of the caller are escaped, so the data ends where it should.
    assert!(text.contains(" \\\"\\]\\\\"), "{text}");
    assert_snapshot!(text);
    let framed = String::from_utf8(connections.next()).expect("text");
    let (length, line) = framed.split_once(' ').expect("octets are counted");
    assert_eq!(length.parse(), Ok(line.len()));
    // 16 * 8 + 3: local0, error.
    assert!(line.starts_with("<131>1 2026-11-21T12:30:00.000000Z host iw - opened ["));
}

#[cfg(unix)]
#[test]
fn syslog_goes_to_a_socket_of_this_machine() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
    tell(
        &format!(
            "[sinks.log]\nkind = \"syslog\"\naddress = \"unix:{}\"",
            path.display()
        ),
        &[hostile()],
    );
    let mut bytes = vec![0; 65_536];
    let length = socket.recv(&mut bytes).expect("a message");
    assert!(bytes[..length].starts_with(b"<131>1 "));
}

#[test]
fn mail_has_the_headers_that_it_was_given() {
    let server = MailServer::new(None);
    tell(
        &format!(
            "[sinks.mail]\nkind = \"email\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\n\
             sender = \"inferwatch <iw@example.com>\"\nto = [\"Soc <soc@example.com>\", \"ops@example.com\"]",
            server.port
        ),
        &[hostile()],
    );
    let [mail] = server.mails().try_into().expect("one");
    // Nothing that the finding says is a header or a recipient.
    let recipients = mail.lines().filter(|line| line.starts_with("RCPT"));
    assert_eq!(recipients.count(), 2);
    let (envelope_and_headers, _) = mail.split_once("\n\n").expect("a body");
    let is_bcc = |line: &str| line.to_lowercase().starts_with("bcc");
    assert!(!envelope_and_headers.lines().any(is_bcc), "{mail}");
    assert_snapshot!(mail);
}

#[cfg(unix)]
#[test]
fn a_command_gets_the_finding_and_no_shell() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("hook.sh");
    std::fs::write(
        &program,
        "set -eu\nenv | grep -v -E '^(PWD|OLDPWD|_|SHLVL|PATH|HOME|LANG|TZ)=' | LC_ALL=C sort > \"$1/env\"\ncat > \"$1/input\"\necho \"done with $2\"\n",
    )
    .expect("writes");
    tell(
        &format!(
            "[sinks.rollback]\nkind = \"command\"\ncommand = [\"sh\", \"{}\", \"{}\", \"$(touch x) ; `y`\"]",
            program.display(),
            folder.path().display()
        ),
        &lifecycle(),
    );
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("is there");
    let input: serde_json::Value = serde_json::from_str(&read("input")).expect("JSON");
    assert_eq!(input["entity"]["caller"], HOSTILE);
    // Told of the beginning, and then that it became worse; not of the end.
    assert_eq!(input["key"], "aaaa.2");
    let environment = read("env");
    let variables: std::collections::BTreeMap<&str, &str> = environment
        .lines()
        .map(|line| line.split_once('=').expect("a variable a line"))
        .collect();
    // Nothing but the finding, and no value of more than a line.
    assert!(
        variables.keys().all(|name| name.starts_with("INFERWATCH_")),
        "{environment}"
    );
    assert_eq!(variables.len(), environment.lines().count());
    for (name, value) in [
        ("INFERWATCH_KEY", "aaaa.2"),
        ("INFERWATCH_EVENT", "updated"),
        ("INFERWATCH_STATUS", "open"),
        ("INFERWATCH_RULE", "token-burn"),
        ("INFERWATCH_SEVERITY", "critical"),
        ("INFERWATCH_EVENT_COUNT", "7"),
        ("INFERWATCH_WINDOW_END", "2026-11-21T12:00:00Z"),
        ("INFERWATCH_EVIDENCE_TOTAL_TOKENS", "500001"),
        ("INFERWATCH_TEST", "false"),
    ] {
        assert_eq!(variables.get(name), Some(&value), "{name}");
    }
    let caller = variables["INFERWATCH_ENTITY_CALLER"];
    assert!(
        caller.ends_with("\\r\\nBcc: eve@example.com\\u{1b}[31m\\u{202e}"),
        "{caller}"
    );
}
