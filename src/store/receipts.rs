//! Which requests with records have been taken, so that one that is sent again adds nothing.
//!
//! A request is known by a hash, as a file is; but there are thousands a minute, and a Delta log keeps every application
//! transaction for ever. So a commit has one transaction for all requests in it, under one application with a number
//! that grows by one, and which requests those are is written to a file of the store beforehand. What the file says of a
//! number holds when the log has come to that number; of two lines with one number the later holds, the former being of
//! a commit that failed.
//!
//! They are forgotten after a day, or when there are a million younger ones.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::disk::{self, Access};
use crate::store::{Store, commit};

/// The application of the transactions.
const APPLICATION: &str = "requests";
const FOLDER: &str = "requests";
const FILE: &str = "taken.ndjson";
/// How long a request is known, in microseconds.
const KEPT: i64 = 24 * 3600 * 1_000_000;
/// How many are known.
const MOST: usize = 1_000_000;
/// Beyond this size the file is written anew without what is forgotten.
const REWRITE: u64 = 64 << 20;

/// A request's identity, and a hash of what was in it: they are one where the sender gave no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Request {
    pub(crate) key: [u8; 16],
    pub(crate) content: [u8; 8],
}

/// What is known of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Never,
    /// Its rows are in the store.
    Taken,
    /// Its name was used for something else.
    Otherwise,
}

/// One commit's requests.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    sequence: i64,
    at: i64,
    requests: Vec<String>,
}

/// The requests that were taken. Only one process at a time has them, and takes requests into the store.
#[derive(Debug)]
pub(crate) struct Receipts {
    store: Store,
    known: HashMap<[u8; 16], [u8; 8]>,
    /// Commits, the oldest first.
    order: VecDeque<(i64, i64, Vec<Request>)>,
    file: File,
    bytes: u64,
    _lock: File,
}

impl Receipts {
    /// Reads them.
    ///
    /// # Errors
    /// When another process has them, or they cannot be read.
    pub(crate) fn open(store: &Store, now: i64) -> Result<Receipts> {
        let lock = commit::lock(&store.lock_path("requests"), Duration::from_secs(2))?;
        let folder = store.root().join(FOLDER);
        disk::create_folder(&folder, Access::Private)?;
        disk::remove_temporary(&folder)?;
        // A commit that a crash has left counts when it is complete.
        commit::complete(store)?;
        let committed = committed(store)?;
        let path = path(store);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        let mut lines: HashMap<i64, Line> = HashMap::new();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            // The last line of a killed process may be torn: its commit has not been.
            if let Ok(line) = serde_json::from_slice::<Line>(line) {
                lines.insert(line.sequence, line);
            }
        }
        lines.retain(|sequence, line| *sequence <= committed && now - line.at < KEPT);
        let mut lines: Vec<Line> = lines.into_values().collect();
        lines.sort_by_key(|line| line.sequence);
        let mut receipts = Receipts {
            store: store.clone(),
            known: HashMap::new(),
            order: VecDeque::new(),
            file: File::open(&folder).map_err(Error::io("open", &folder))?,
            bytes: 0,
            _lock: lock,
        };
        for line in lines {
            let requests = line.requests.iter().filter_map(|text| read(text)).collect();
            receipts.note(line.sequence, line.at, requests);
        }
        receipts.rewrite(now)?;
        Ok(receipts)
    }

    /// What is known of a request.
    pub(crate) fn seen(&self, request: &Request) -> Seen {
        match self.known.get(&request.key) {
            None => Seen::Never,
            Some(content) if *content == request.content => Seen::Taken,
            Some(_) => Seen::Otherwise,
        }
    }

    /// Writes down that the next commit takes these requests: the transaction that it is to carry. The store's writer
    /// has been made, so that no other commit of ours is pending.
    ///
    /// # Errors
    /// When that cannot be made durable; then the commit must not be.
    pub(crate) fn begin(&mut self, requests: &[Request], now: i64) -> Result<(String, i64)> {
        if self.bytes > REWRITE {
            self.rewrite(now)?;
        }
        let sequence = committed(&self.store)? + 1;
        let line = line(sequence, now, requests)?;
        let written = self.file.write_all(&line);
        if let Err(error) = written.and_then(|()| self.file.sync_data()) {
            // Part of a line may be there, and what follows it would be lost with it: the next time all is written anew.
            self.bytes = u64::MAX;
            return Err(Error::io("write", path(&self.store))(error));
        }
        self.bytes += line.len() as u64;
        Ok((APPLICATION.to_owned(), sequence))
    }

    /// The commit of that number is done.
    pub(crate) fn done(&mut self, sequence: i64, requests: Vec<Request>, now: i64) {
        self.note(sequence, now, requests);
        while self.known.len() > MOST
            || self
                .order
                .front()
                .is_some_and(|(_, at, _)| now - at >= KEPT)
        {
            let Some((_, _, requests)) = self.order.pop_front() else {
                break;
            };
            for request in requests {
                self.known.remove(&request.key);
            }
        }
    }

    /// After a commit that failed: if it has been done after all, what it took is known from now on.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn settle(
        &mut self,
        sequence: i64,
        requests: Vec<Request>,
        now: i64,
    ) -> Result<bool> {
        commit::complete(&self.store)?;
        let is_done = committed(&self.store)? >= sequence;
        if is_done {
            self.done(sequence, requests, now);
        }
        Ok(is_done)
    }

    fn note(&mut self, sequence: i64, at: i64, requests: Vec<Request>) {
        for request in &requests {
            self.known.insert(request.key, request.content);
        }
        self.order.push_back((sequence, at, requests));
    }

    /// Writes the file anew, with what is known.
    fn rewrite(&mut self, now: i64) -> Result<()> {
        let path = path(&self.store);
        let mut text = Vec::new();
        for (sequence, at, requests) in &self.order {
            if now - at < KEPT {
                text.extend(line(*sequence, *at, requests)?);
            }
        }
        disk::replace(&path, &text, Access::Private)?;
        self.file = File::options()
            .append(true)
            .open(&path)
            .map_err(Error::io("open", &path))?;
        self.bytes = text.len() as u64;
        Ok(())
    }
}

fn path(store: &Store) -> PathBuf {
    store.root().join(FOLDER).join(FILE)
}

/// The number of the last commit with requests.
fn committed(store: &Store) -> Result<i64> {
    let snapshot = store.snapshot(Table::Calls)?;
    Ok(snapshot
        .transactions()
        .get(APPLICATION)
        .copied()
        .unwrap_or(0))
}

fn line(sequence: i64, at: i64, requests: &[Request]) -> Result<Vec<u8>> {
    let line = Line {
        sequence,
        at,
        requests: requests
            .iter()
            .map(|request| format!("{}{}", disk::hex(&request.key), disk::hex(&request.content)))
            .collect(),
    };
    let mut text = serde_json::to_vec(&line).map_err(|error| Error::Store {
        message: format!("requests: {error}"),
        hint: None,
    })?;
    text.push(b'\n');
    Ok(text)
}

fn read(text: &str) -> Option<Request> {
    if text.len() != 48 || !text.is_ascii() {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok();
    let mut request = Request {
        key: [0; 16],
        content: [0; 8],
    };
    for at in 0..16 {
        request.key[at] = byte(at)?;
    }
    for at in 0..8 {
        request.content[at] = byte(16 + at)?;
    }
    Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::WriteOptions;

    fn request(number: u8) -> Request {
        Request {
            key: [number; 16],
            content: [number; 8],
        }
    }

    fn commit_with(store: &Store, transaction: (String, i64)) {
        let mut writer = store.writer(WriteOptions::default()).expect("a writer");
        writer.commit(&[transaction]).expect("a commit");
    }

    #[test]
    fn what_was_written_down_counts_only_with_its_commit() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open_or_create(&folder.path().join("store")).expect("a store");
        let mut receipts = Receipts::open(&store, 0).expect("receipts");
        let first = receipts.begin(&[request(1)], 1).expect("written");
        commit_with(&store, first);
        // Killed before its commit; the next one has the number, and other requests.
        let torn = receipts.begin(&[request(2)], 2).expect("written");
        assert_eq!(torn.1, 2);
        drop(receipts);

        let mut receipts = Receipts::open(&store, 3).expect("receipts");
        assert_eq!(receipts.seen(&request(1)), Seen::Taken);
        assert_eq!(receipts.seen(&request(2)), Seen::Never);
        let second = receipts.begin(&[request(3)], 3).expect("written");
        assert_eq!(second, torn);
        // Failed, and tried again with another.
        let second = receipts.begin(&[request(4)], 4).expect("written");
        assert!(!receipts.settle(2, vec![request(4)], 4).expect("settled"));
        commit_with(&store, second);
        assert!(receipts.settle(2, vec![request(4)], 4).expect("settled"));
        drop(receipts);

        for now in [5, KEPT] {
            let receipts = Receipts::open(&store, now).expect("receipts");
            assert_eq!(receipts.seen(&request(2)), Seen::Never);
            assert_eq!(receipts.seen(&request(3)), Seen::Never);
            assert_eq!(receipts.seen(&request(4)), Seen::Taken);
        }
        let other = Request {
            content: [9; 8],
            ..request(4)
        };
        let receipts = Receipts::open(&store, KEPT + 1).expect("receipts");
        assert_eq!(receipts.seen(&other), Seen::Otherwise);
        assert_eq!(receipts.seen(&request(1)), Seen::Never);
        drop(receipts);
        let receipts = Receipts::open(&store, KEPT + 4).expect("receipts");
        assert_eq!(receipts.seen(&request(4)), Seen::Never);
    }

    #[test]
    fn a_torn_line_is_no_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open_or_create(&folder.path().join("store")).expect("a store");
        let mut receipts = Receipts::open(&store, 0).expect("receipts");
        let first = receipts.begin(&[request(1)], 1).expect("written");
        commit_with(&store, first);
        drop(receipts);
        let whole = std::fs::read(path(&store)).expect("a file");
        let torn = [&whole[..], &whole[..whole.len() / 2]].concat();
        std::fs::write(path(&store), torn).expect("a file");
        let receipts = Receipts::open(&store, 2).expect("receipts");
        assert_eq!(receipts.seen(&request(1)), Seen::Taken);
        assert_eq!(std::fs::read(path(&store)).expect("a file"), whole);
    }
}
