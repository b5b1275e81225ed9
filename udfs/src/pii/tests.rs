use proptest::prelude::*;

use super::*;

fn redacted(text: &str) -> String {
    let mut out = String::new();
    redact(text, &mut Scratch::default(), &mut out);
    out
}

fn kinds(text: &str) -> Vec<&'static str> {
    scan(text, &mut Scratch::default())
        .as_slice()
        .iter()
        .map(|finding| finding.kind.name())
        .collect()
}

/// A key put together at run time, so that no scanner takes this file for a leak.
fn key(prefix: &str, body: &str) -> String {
    format!("{prefix}{body}")
}

const ALNUM_36: &str = "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5";
const SECRET_40: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

#[test]
fn kinds_are_listed_by_name() {
    assert!(
        Kind::ALL
            .windows(2)
            .all(|pair| pair[0].name() < pair[1].name() && pair[0] < pair[1])
    );
    assert!(
        Kind::ALL
            .iter()
            .enumerate()
            .all(|(place, &kind)| kind as usize == place)
    );
}

#[test]
fn no_marker_is_a_finding() {
    for kind in Kind::ALL {
        for text in [
            kind.marker().to_owned(),
            format!("api_key={}", kind.marker()),
            format!("Bearer {}", kind.marker()),
        ] {
            assert_eq!(redacted(&text), text);
        }
    }
}

#[test]
fn emails() {
    for (text, expected) in [
        ("write to ada@example.org.", "write to [EMAIL]."),
        ("<ada.lovelace+news@mail.example.co.uk>", "<[EMAIL]>"),
        ("'bob@example.com'", "'[EMAIL]'"),
        ("o'brien@example.com", "[EMAIL]"),
        (
            "mailto:ada@example.org?subject=x",
            "mailto:[EMAIL]?subject=x",
        ),
        ("jürgen@müller.de", "[EMAIL]"),
        ("邮箱ada@example.org谢谢", "邮箱[EMAIL]谢谢"),
        ("ada@example.org,bob@example.org", "[EMAIL],[EMAIL]"),
        ("?email=ada%40example.org&x=1", "?email=[EMAIL]&x=1"),
        ("?email=ada%2540example.org", "?email=[EMAIL]"),
        (
            r#"{"m":"\nada\u0040example.org\n"}"#,
            r#"{"m":"\n[EMAIL]\n"}"#,
        ),
        ("a\u{200b}da@exam\u{ad}ple.org", "[EMAIL]"),
        ("ada＠example．org", "[EMAIL]"),
        ("ada&#64;example.org", "[EMAIL]"),
        (
            "postgres://user:pw@db.example.com/x",
            "postgres://user:[EMAIL]/x",
        ),
        ("ada@example.com—call", "[EMAIL]—call"),
    ] {
        assert_eq!(redacted(text), expected, "{text:?}");
    }
}

#[test]
fn not_emails() {
    for text in [
        "@media screen",
        "icon@2x.png",
        "left-pad@1.3.0",
        "react@18.2.0-rc.1",
        "foo@latest",
        "a @ b.com",
        "user@localhost",
        "@ada@",
        "x@y",
        "meet @ 5.pm",
        "ada@.com",
        "ada@example",
        "5@5.5",
        "git@github.com:org/repo.git",
    ] {
        assert_eq!(redacted(text), text);
    }
}

#[test]
fn payment_cards() {
    for card in [
        // Published test numbers of the schemes.
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4222222222222",
        "5555555555554444",
        "2223003122003222",
        "378282246310005",
        "3782 822463 10005",
        "30569309025904",
        "3056 930902 5904",
        "6011111111111117",
        "3530111333300000",
        "6200000000000005",
        "6759649826438453",
        "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        "41 11 11 11 11 11 11 11",
        "4111.1111.1111.1111",
        "4111\u{2011}1111\u{2011}1111\u{2011}1111",
        "4111\u{a0}1111\u{a0}1111\u{a0}1111",
        "４１１１１１１１１１１１１１１１",
        "4111\u{200b}1111\u{200b}1111\u{200b}1111",
        "٤١١١١١١١١١١١١١١١",
        "4111%201111%201111%201111",
    ] {
        for (before, after) in [
            ("", ""),
            ("card: ", " exp 12/27 cvv 123"),
            ("visa-", "."),
            ("卡号", "。"),
            ("(", ")"),
            ("pay_", "_x"),
        ] {
            assert_eq!(
                redacted(&format!("{before}{card}{after}")),
                format!("{before}[PAYMENT_CARD]{after}"),
                "{card}"
            );
        }
    }
    assert_eq!(
        redacted("4111111111111111 5555555555554444"),
        "[PAYMENT_CARD] [PAYMENT_CARD]"
    );
    assert_eq!(
        redacted("4111 1111 1111 1111 5555 5555 5555 4444"),
        "[PAYMENT_CARD] [PAYMENT_CARD]"
    );
}

#[test]
fn social_security_numbers() {
    for (text, expected) in [
        ("123-45-6789", "[SSN]"),
        ("SSN 078-05-1120, thanks", "SSN [SSN], thanks"),
        ("my number is 123 45 6789.", "my number is [SSN]."),
        ("ssn: 123456789", "ssn: [SSN]"),
        (
            "Social Security Number 123456789",
            "Social Security Number [SSN]",
        ),
        ("123\u{2013}45\u{2013}6789", "[SSN]"),
        ("912-70-1234", "[SSN]"),
        ("123-45-6789 and 219-09-9999", "[SSN] and [SSN]"),
        ("4111111111111111 123-45-6789", "[PAYMENT_CARD] [SSN]"),
    ] {
        assert_eq!(redacted(text), expected, "{text:?}");
    }
}

#[test]
fn phones() {
    for phone in [
        "+1 415 555 2671",
        "+14155552671",
        "+1 (415) 555-2671",
        "(415) 555-2671",
        "(415)555-2671",
        "415-555-2671",
        "415.555.2671",
        "1-415-555-2671",
        "+44 20 7946 0958",
        "+44 (0)20 7946 0958",
        "+49 30 123456-78",
        "020 7946 0958",
        "07700 900123",
        "06 12 34 56 78",
        "06.12.34.56.78",
        "030/1234567",
        "0171-1234567",
        "(11) 91234-5678",
        "138 1234 5678",
        "+86 138-1234-5678",
        "0044 20 7946 0958",
        "+1\u{2011}415\u{2011}555\u{2011}2671",
        "＋１ ４１５ ５５５ ２６７１",
        "+919876543210",
        "(+49) 30 123456",
        "+(49) 30 123456",
    ] {
        for (before, after) in [
            ("", ""),
            ("call ", " now"),
            ("tel:", "."),
            ("(", ")"),
            ("电话:", "。"),
        ] {
            assert_eq!(
                redacted(&format!("{before}{phone}{after}")),
                format!("{before}[PHONE]{after}"),
                "{phone}"
            );
        }
    }
    for (text, expected) in [
        ("phone 4155552671", "phone [PHONE]"),
        ("手机13812345678", "手机[PHONE]"),
        ("Tel. 555 0100 12", "Tel. [PHONE]"),
        ("call +442079460958 123-45-6789", "call [PHONE] [SSN]"),
    ] {
        assert_eq!(redacted(text), expected, "{text:?}");
    }
}

#[test]
fn look_alikes_of_numbers_stay() {
    for text in [
        "order 1234567890123456",
        "order #4111111111111112",
        "550e8400-e29b-41d4-a716-446655440000",
        "11111111-1111-4111-8111-111111111111",
        "deadbeef-4111-4111-4111-111111111111",
        "2024-11-21 04:16:48.123456",
        "2024-11-21T04:16:48Z",
        "20241121041648",
        "1732162608",
        "1732162608123",
        "1732162608123456789",
        "638515262815394150",
        "5374205265901353984",
        "192.168.100.200",
        "10.0.0.1:8080",
        "255.255.255.255",
        "1.2.3.4",
        "v1.22.333.4444",
        "1.10.2024.3",
        "978-3-16-148410-0",
        "9783161484100",
        "0-306-40615-2",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "3.14159265358979323846",
        "0.4111111111111111",
        "2+12345678",
        "+0530",
        "+1.2345678901",
        "01-02-2024 12",
        "05-11-2024 10:30:00",
        "000-12-3456",
        "666-12-3456",
        "123-00-4567",
        "123-45-0000",
        "A-123-45-6789",
        "1-123-45-6789",
        "114-3941689-8772232",
        "1Z999AA10123456784",
        "123 456 789 012 345",
        "10 20 30 40 50 60 70 80 90",
        "1,234,567,890",
        "lines 100-200 and 300-400",
        "hotel 12345678",
        "490154203237518",
        "Aug 09 2013 -0900",
        "range 2000-2010, 2011-2020",
        "x86_64-4111111111111111a",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15",
        "12/31/2024 11:59:59",
        "ISO 27001:2022",
        "RFC 2822 3339 5322",
        "9007199254740993",
        "192.168.1.1 - 10.0.0.254",
    ] {
        assert_eq!(redacted(text), text, "{:?}", kinds(text));
    }
}

#[test]
fn bank_accounts() {
    for iban in [
        // The registry's own examples.
        "DE89370400440532013000",
        "DE89 3704 0044 0532 0130 00",
        "GB82 WEST 1234 5698 7654 32",
        "NL91 ABNA 0417 1643 00",
        "FR14 2004 1010 0505 0001 3M02 606",
        "NO93 8601 1117 947",
        "MT84MALT011000012345MTLCAST001S",
        "gb82west12345698765432",
    ] {
        assert_eq!(
            redacted(&format!("pay to {iban}, please")),
            "pay to [IBAN], please"
        );
    }
    for text in [
        "DE89370400440532013001",
        "XX89370400440532013000",
        "DE8937040044053201300",
        "DE893704004405320130001",
    ] {
        assert_eq!(redacted(text), text);
    }
}

#[test]
fn keys_of_vendors() {
    let body = ALNUM_36;
    let cases = [
        ("aws_access_key", key("AKIA", "IOSFODNN7EXAMPLE")),
        ("aws_access_key", key("ASIA", "IOSFODNN7EXAMPLE")),
        ("gcp_api_key", key("AIza", &body[..35])),
        ("gcp_api_key", key("GOCSPX-", &body[..28])),
        ("anthropic_key", key("sk-ant-api03-", body)),
        ("openai_key", key("sk-", &format!("{body}T3BlbkFJ"))),
        ("openai_key", key("sk-proj-", &format!("{body}_{body}-ab"))),
        (
            "openai_key",
            key("sk-or-v1-", &"0123456789abcdef".repeat(4)),
        ),
        ("github_token", key("ghp_", body)),
        ("github_token", key("github_pat_", &body[..22])),
        (
            "slack_token",
            key("xoxb-", "123456789012-1234567890123-AbCdEfGhIj"),
        ),
        ("stripe_key", key("sk_live_", &body[..24])),
        ("stripe_key", key("rk_test_", &body[..24])),
        ("huggingface_token", key("hf_", &body[..34])),
        (
            "azure_key",
            format!("{}JQQJ99{}", &ALNUM_36.repeat(2)[..52], &body[..26]),
        ),
        (
            "jwt",
            key(
                "eyJhbGciOiJIUzI1NiJ9",
                ".eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
            ),
        ),
    ];
    for (kind, key) in cases {
        let marker = Kind::ALL
            .into_iter()
            .find(|known| known.name() == kind)
            .expect("a kind")
            .marker();
        for (before, after) in [
            ("", ""),
            ("use ", " please"),
            ("\"", "\""),
            ("key=", "\n"),
            ("密钥", "。"),
        ] {
            assert_eq!(
                redacted(&format!("{before}{key}{after}")),
                format!("{before}{marker}{after}"),
                "{key}"
            );
        }
        // A prefix inside a word is not a key; the second part of a JSON Web Token looks like another's first.
        assert!(
            kind == "jwt" || kinds(&format!("x{key}")).is_empty(),
            "x{key}"
        );
    }
}

#[test]
fn secrets_known_by_their_name() {
    for (text, kind) in [
        (
            format!("aws_secret_access_key = {SECRET_40}"),
            "aws_secret_key",
        ),
        (
            format!("\"SecretAccessKey\": \"{SECRET_40}\""),
            "aws_secret_key",
        ),
        (
            format!(
                "AccountKey={}==;EndpointSuffix=core.windows.net",
                &ALNUM_36.repeat(3)[..86]
            ),
            "azure_key",
        ),
        (
            format!(
                "Ocp-Apim-Subscription-Key: {}",
                "0123456789abcdef0123456789abcdef"
            ),
            "azure_key",
        ),
        (format!("api_key={ALNUM_36}"), "api_key"),
        (format!("\"client_secret\": \"{ALNUM_36}\""), "api_key"),
        (format!("X-API-Key: {ALNUM_36}"), "api_key"),
        (format!("my API key is {ALNUM_36}, use it"), "api_key"),
        (format!("password := {ALNUM_36}"), "api_key"),
        (format!("config['token'] = '{ALNUM_36}'"), "api_key"),
        (format!("Authorization: Bearer {ALNUM_36}"), "bearer_token"),
        (format!(r#"{{\"api_key\": \"{ALNUM_36}\"}}"#), "api_key"),
    ] {
        assert_eq!(kinds(&text), [kind], "{text}");
        assert!(!redacted(&text).contains(&ALNUM_36[..8]), "{text}");
    }
    let pair = format!("{},{SECRET_40}", key("AKIA", "IOSFODNN7EXAMPLE"));
    assert_eq!(redacted(&pair), "[API_KEY:aws],[API_KEY:aws_secret]");
}

#[test]
fn look_alikes_of_keys_stay() {
    for text in [
        "commit da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "cache key: 3f2a9c5e7b1d4f6a8c0e2d4b6f8a0c1e",
        "primary key=user_id_0123456789abcdef",
        "api_key=YOUR_API_KEY_GOES_HERE",
        "api_key=${OPENAI_API_KEY}",
        "api_key = os.environ[\"KEY\"]",
        "api_key=xxxxxxxxxxxxxxxxxxxxxxxx",
        "password: required",
        "risk-adjusted-return-on-capital-2024-12",
        "task-0123456789abcdefghij",
        "sk-loading-spinner-container-element",
        "hf_hub_download(repo_id)",
        "npm_config_registry",
        "my_test_function_name_1",
        "bearer of good news 2024",
        "the bearer authentication-mechanism",
        "eyJ",
        "AKIAfoo",
        "AIzaShort",
        "xoxo",
        "token: https://example.com/a1b2c3d4e5f6",
        "The password is not something I would share",
        "token count is 12345678901234567890",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----",
        "A PEM file starts with -----BEGIN PRIVATE KEY----- and so on",
    ] {
        assert_eq!(redacted(text), text, "{:?}", kinds(text));
    }
}

#[test]
fn private_keys() {
    let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7";
    for (text, expected) in [
        (
            format!(
                "x\n-----BEGIN PRIVATE KEY-----\n{line}\n{line}\nabc=\n-----END PRIVATE KEY-----\ny"
            ),
            "x\n[PRIVATE_KEY]\ny",
        ),
        (
            format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{line}\n{line}"),
            "[PRIVATE_KEY]",
        ),
        (
            format!(
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n{line}\n-----END RSA PRIVATE KEY-----."
            ),
            "[PRIVATE_KEY].",
        ),
        (
            format!(r#""k": "-----BEGIN PRIVATE KEY-----\n{line}\n-----END PRIVATE KEY-----\n""#),
            r#""k": "[PRIVATE_KEY]\n""#,
        ),
        (
            format!(
                "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{line}\n-----END PGP PRIVATE KEY BLOCK-----"
            ),
            "[PRIVATE_KEY]",
        ),
    ] {
        assert_eq!(redacted(&text), expected, "{text}");
    }
}

#[test]
fn counts_are_by_kind() {
    let mut out = String::new();
    let counts = redact(
        "a@example.com b@example.com 123-45-6789",
        &mut Scratch::default(),
        &mut out,
    );
    assert_eq!(
        (
            counts.get(Kind::Email),
            counts.get(Kind::Ssn),
            counts.total()
        ),
        (2, 1, 3)
    );
    assert_eq!(
        counts.iter().collect::<Vec<_>>(),
        [(Kind::Email, 2), (Kind::Ssn, 1)]
    );
}

#[test]
fn overlapping_findings_become_one() {
    let finding = |kind, start, end| Finding { kind, start, end };
    let mut findings = Findings(vec![
        finding(Kind::Phone, 8, 12),
        finding(Kind::Email, 0, 4),
        finding(Kind::PaymentCard, 3, 9),
        finding(Kind::Ssn, 12, 13),
    ]);
    findings.settle();
    assert_eq!(
        findings.0,
        [
            finding(Kind::PaymentCard, 0, 12),
            finding(Kind::Ssn, 12, 13)
        ]
    );
}

/// Pieces whose every joint is a chance for a detector to go wrong.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "4111",
        "1111",
        "4111111111111111",
        "123",
        "45",
        "6789",
        "-",
        " ",
        ".",
        "/",
        "(",
        ")",
        "+",
        "+1",
        "415",
        "555",
        "2671",
        "@",
        "a",
        "ada",
        ".com",
        "example.org",
        "%40",
        "\\u0040",
        "\\",
        "\\n",
        "%25",
        "&#64;",
        "\u{200b}",
        "４",
        "é",
        "日",
        "AKIA",
        "IOSFODNN7EXAMPLE",
        "sk-",
        "ghp_",
        "eyJ",
        "Bearer ",
        "api_key=",
        "=",
        ":",
        " is ",
        "password: ",
        "\"",
        "'",
        "[",
        "]",
        "[EMAIL]",
        "[PHONE]",
        "-----BEGIN PRIVATE KEY-----",
        "-----END PRIVATE KEY-----",
        "DE89370400440532013000",
        "DE89",
        "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "\n",
        "phone ",
        "ssn ",
        "_",
        "x",
    ]);
    prop_oneof![
        prop::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat()),
        "\\PC{0,200}",
        "[0-9 .()+@a-z=:/-]{0,120}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn redaction_is_complete_and_idempotent(text in hostile()) {
        let (mut scratch, mut once, mut twice) = (Scratch::default(), String::new(), String::new());
        let counts = redact_checked(&text, &mut scratch, &mut once);
        prop_assert!(counts.is_ok());
        prop_assert!(scan(&once, &mut scratch).is_empty(), "{:?} -> {:?}", text, once);
        redact(&once, &mut scratch, &mut twice);
        prop_assert_eq!(&once, &twice);
        let found = scan(&text, &mut scratch);
        prop_assert_eq!(found.is_empty(), once == text);
    }

    #[test]
    fn findings_are_ordered_apart_and_on_characters(text in hostile()) {
        let mut scratch = Scratch::default();
        let mut end = 0;
        for finding in scan(&text, &mut scratch).as_slice() {
            prop_assert!(finding.start >= end && finding.start < finding.end);
            prop_assert!(text.get(finding.start..finding.end).is_some());
            end = finding.end;
        }
    }

    /// A finding depends on its neighbourhood alone, wherever the blocks of the digit gate fall.
    #[test]
    fn place_in_the_text_does_not_matter(front in 0..100_usize, back in 0..100_usize) {
        for (secret, marker) in [("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "[PAYMENT_CARD]"), ("123-45-6789", "[SSN]"),
            ("+44 20 7946 0958", "[PHONE]"), ("GB82 WEST 1234 5698 7654 32", "[IBAN]")] {
            let text = format!("{}\n{secret}\n{}", "z".repeat(front), "z".repeat(back));
            prop_assert_eq!(redacted(&text), format!("{}\n{marker}\n{}", "z".repeat(front), "z".repeat(back)));
        }
    }
}
