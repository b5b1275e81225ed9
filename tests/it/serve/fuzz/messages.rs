//! Messages of the Postgres protocol that are broken.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng, SeedableRng};

use super::{answer_to, is_unharmed, memory};
use crate::serve::Fixture;
use crate::serve::program::serve;

/// A message of the Postgres protocol.
#[derive(Clone)]
pub(super) struct Message {
    /// What the first of a connection lacks.
    kind: Option<u8>,
    body: Vec<u8>,
}

impl Message {
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.with_length(self.body.len() as u32 + 4)
    }

    fn with_length(&self, length: u32) -> Vec<u8> {
        let kind = self.kind.as_slice();
        [kind, &length.to_be_bytes(), &self.body].concat()
    }
}

/// A start, the password, and the same question twice over: plainly, and by a prepared statement with a parameter.
pub(super) fn conversation(token: &str) -> Vec<Message> {
    let message = |kind: u8, parts: &[&[u8]]| Message {
        kind: Some(kind),
        body: parts.concat(),
    };
    let start = [
        &[0, 3, 0, 0][..],
        b"user\0somebody\0database\0datafusion\0\0",
    ];
    vec![
        Message {
            kind: None,
            body: start.concat(),
        },
        message(b'p', &[token.as_bytes(), b"\0"]),
        message(b'Q', &[b"SELECT 123400 + 56\0"]),
        message(b'P', &[b"s\0SELECT 123400 + CAST($1 AS BIGINT)\0", &[0, 0]]),
        message(b'D', &[b"Ss\0"]),
        message(
            b'B',
            &[b"p\0s\0", &[0, 0, 0, 1, 0, 0, 0, 2], b"56", &[0, 0]],
        ),
        message(b'E', &[b"p\0", &[0, 0, 0, 0]]),
        message(b'S', &[]),
        message(b'X', &[]),
    ]
}

/// The bytes of a conversation with something wrong, and from which message on no answer may come.
fn broken_conversation(random: &mut StdRng, mut all: Vec<Message>) -> (Vec<u8>, usize) {
    let at = random.random_range(0..all.len() - 1);
    let joined = |all: &[Message]| all.iter().flat_map(Message::bytes).collect::<Vec<u8>>();
    let length = all[at].body.len() as u32 + 4;
    match random.random_range(0..10) {
        // Its length says something else; what follows is read as something else.
        0 => {
            let lies = [
                0,
                1,
                3,
                length - 1,
                length + 1,
                length + 1000,
                4 << 20,
                u32::MAX / 2,
                u32::MAX,
            ];
            let lie = *lies.choose(random).expect("one");
            let bytes = [
                joined(&all[..at]),
                all[at].with_length(lie),
                joined(&all[at + 1..]),
            ];
            (bytes.concat(), at)
        }
        1 => {
            let whole = joined(&all[..=at]);
            let cut = whole.len() - random.random_range(1..=all[at].bytes().len());
            (whole[..cut].to_vec(), at)
        }
        2 => {
            all[at].kind = Some(random.random());
            (joined(&all), at)
        }
        3 => {
            let other = random.random_range(0..all.len());
            all.swap(at, other);
            (joined(&all), at.min(other))
        }
        4 => {
            all.remove(at);
            (joined(&all), at)
        }
        5 => {
            // Counts of parameters and formats that nothing follows.
            let end = all[at].body.len();
            let from = end.saturating_sub(random.random_range(1..9));
            all[at].body[from..].fill(0xff);
            (joined(&all), at)
        }
        6 => {
            // Texts without an end.
            all[at].body.retain(|byte| *byte != 0);
            (joined(&all), at)
        }
        7 => {
            let body = &mut all[at].body;
            let noise = random.random_range(1..200_000);
            body.extend(std::iter::repeat_n(random.random::<u8>(), noise));
            (joined(&all), at)
        }
        8 => {
            let again = all[at].clone();
            let often = random.random_range(2..200);
            all.splice(at..at, std::iter::repeat_n(again, often));
            (joined(&all), at)
        }
        _ => {
            let mut bytes = joined(&all);
            let place = random.random_range(0..bytes.len());
            bytes[place] = random.random();
            let mut end = 0;
            let at = all.iter().position(|message| {
                end += message.bytes().len();
                place < end
            });
            (bytes, at.expect("within"))
        }
    }
}

#[test]
fn broken_messages_of_postgres_do_no_harm_and_open_nothing() {
    let fixture = Fixture::new();
    let token = fixture.reader();
    let flags = [
        "--max-connections",
        "64",
        "--rate",
        "100000",
        "--request-time",
        "5s",
    ];
    let running = serve(&fixture.path(), &flags);
    let answers = |bytes: &[u8]| {
        let answer = answer_to(running.postgres, bytes, true);
        answer.windows(6).filter(|six| six == b"123456").count()
    };
    let whole = conversation(&token);
    let bytes: Vec<u8> = whole.iter().flat_map(Message::bytes).collect();
    assert_eq!(answers(&bytes), 2);
    let before = memory(&running, "VmHWM");
    let mut random = StdRng::seed_from_u64(6);
    for round in 0..300 {
        let (bytes, at) = broken_conversation(&mut random, conversation(&token));
        let told = answers(&bytes);
        // Only the password opens anything, and only as it was given out.
        let mut windows = bytes.windows(token.len());
        let has_password = windows.any(|window| window == token.as_bytes());
        assert!(told == 0 || has_password, "round {round}: {told}");
        // What ends before the password has come gets nowhere.
        let is_cut = bytes.len() < whole[0].bytes().len() + whole[1].bytes().len();
        assert!(told == 0 || !is_cut, "round {round}, message {at}: {told}");
    }
    let wrong = conversation("iwt_wrong");
    let bytes: Vec<u8> = wrong.iter().flat_map(Message::bytes).collect();
    assert_eq!(answers(&bytes), 0);
    is_unharmed(&running, &token, before);
}
