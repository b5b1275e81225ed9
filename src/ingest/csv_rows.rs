//! Rows of a CSV export: where each ends, and the object that it stands for.
//!
//! A quote that never ends makes one row of all that follows. So a stream is cut where rows end, with the grammar of the
//! `csv` crate, before anything is read as a row, and what is too large for one never is.

use std::io;
use std::ops::Range;

/// Finds the ends of rows in a stream that arrives in blocks.
#[derive(Debug, Default)]
pub(super) struct RowEnds {
    place: Place,
}

#[derive(Debug, Default, Clone, Copy)]
enum Place {
    /// Where a quote would begin a cell.
    #[default]
    CellStart,
    /// In a cell that began with no quote: in it a quote is a character like any other.
    Cell,
    Quoted,
    /// Behind a quote in a quoted cell: its end, or the first half of a quote.
    Quote,
    /// Behind a return, which ends a row with or without a line feed.
    Return,
}

impl RowEnds {
    /// The first and the last byte of `bytes` that is behind the end of a row.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Option<(usize, usize)> {
        let mut ends: Option<(usize, usize)> = None;
        let mut end = |at: usize| ends = Some((ends.map_or(at, |(first, _)| first), at));
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            self.place = match (self.place, byte) {
                (Place::Return, b'\n') => {
                    end(at + 1);
                    Place::CellStart
                }
                (Place::Return, _) => {
                    end(at);
                    self.place = Place::CellStart;
                    continue;
                }
                (Place::Quoted, b'"') => Place::Quote,
                (Place::Quoted, _) => {
                    at += memchr::memchr(b'"', &bytes[at..]).unwrap_or(bytes.len() - at);
                    continue;
                }
                (Place::CellStart, b'"') | (Place::Quote, b'"') => Place::Quoted,
                (_, b'\n') => {
                    end(at + 1);
                    Place::CellStart
                }
                (_, b'\r') => Place::Return,
                (_, b',') => Place::CellStart,
                _ => Place::Cell,
            };
            at += 1;
        }
        ends
    }
}

/// Reads whole rows: the first there is are the names of columns, unless they are known. Calls `block` with about `size`
/// bytes of objects at a time, and with the place of each row in `text` and of its object in these bytes.
pub(super) fn read<E>(
    names: &mut Option<csv::ByteRecord>,
    text: &[u8],
    size: usize,
    mut block: impl FnMut(Vec<u8>, Vec<(u64, Range<usize>)>) -> Result<(), E>,
) -> io::Result<Result<(), E>> {
    let mut rows = csv::ReaderBuilder::new()
        .flexible(true)
        .has_headers(false)
        .from_reader(text);
    let mut row = csv::ByteRecord::new();
    let (mut bytes, mut places) = (Vec::new(), Vec::new());
    while rows.read_byte_record(&mut row).map_err(io::Error::other)? {
        let Some(names) = names.as_ref() else {
            // Azure's portal writes the zone behind the names of times.
            let bare = row
                .iter()
                .map(|name| name.strip_suffix(b" [UTC]").unwrap_or(name));
            *names = Some(bare.collect());
            continue;
        };
        let from = bytes.len();
        write_object(names, &row, &mut bytes);
        let offset = row.position().map_or(0, csv::Position::byte);
        places.push((offset, from..bytes.len()));
        if bytes.len() >= size
            && let Err(error) = block(std::mem::take(&mut bytes), std::mem::take(&mut places))
        {
            return Ok(Err(error));
        }
    }
    Ok(match places.is_empty() {
        true => Ok(()),
        false => block(bytes, places),
    })
}

/// One row as JSON. Numbers stay text: every reader of records takes both. Bytes that are no UTF-8 stay as they are,
/// so that the row is found to be damaged.
fn write_object(names: &csv::ByteRecord, row: &csv::ByteRecord, out: &mut Vec<u8>) {
    let string = |bytes: &[u8], out: &mut Vec<u8>| match std::str::from_utf8(bytes) {
        Ok(text) => {
            let mut json = String::new();
            super::json::write_string(&mut json, text);
            out.extend_from_slice(json.as_bytes());
        }
        Err(_) => {
            out.push(b'"');
            out.extend_from_slice(bytes);
            out.push(b'"');
        }
    };
    out.push(b'{');
    let mut any = false;
    for (name, cell) in names.iter().zip(row).filter(|(_, cell)| !cell.is_empty()) {
        if std::mem::replace(&mut any, true) {
            out.push(b',');
        }
        string(name, out);
        out.push(b':');
        string(cell, out);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn objects(names: &mut Option<csv::ByteRecord>, text: &[u8]) -> Vec<String> {
        let mut all = Vec::new();
        let read = read::<()>(names, text, 1, |bytes, places| {
            let object = |place: Range<usize>| String::from_utf8_lossy(&bytes[place]).into_owned();
            all.extend(places.into_iter().map(|(_, place)| object(place)));
            Ok(())
        });
        assert!(matches!(read, Ok(Ok(()))));
        all
    }

    #[test]
    fn rows_end_outside_of_quotes() {
        for (text, ends) in [
            ("a,b\nc", Some((4, 4))),
            ("a,\"b\n\"\nc\n", Some((7, 9))),
            ("a,\"b\"\"\n\"\n", Some((9, 9))),
            ("a,b\"\nc", Some((5, 5))),
            ("a\r\nb\rc", Some((3, 5))),
            ("a,\"b\n", None),
        ] {
            assert_eq!(RowEnds::default().scan(text.as_bytes()), ends, "{text}");
        }
    }

    #[test]
    fn a_row_is_an_object_without_its_empty_cells() {
        let rows = objects(
            &mut None,
            b"time [UTC],\"m\"\"n\",x\n1,\"a\nb\",\n,,\n2,c,3,4\n",
        );
        assert_eq!(
            rows,
            [
                r#"{"time":"1","m\"n":"a\nb"}"#,
                "{}",
                r#"{"time":"2","m\"n":"c","x":"3"}"#
            ]
        );
    }

    proptest! {
        /// The `csv` crate over the whole is the second opinion.
        #[test]
        fn cut_where_rows_end_it_is_the_same_table(text in "a,b\n([ab\",\r\n]|\"\"){0,40}", block in 1_usize..7) {
            let whole = objects(&mut None, text.as_bytes());
            let (mut names, mut ends, mut rows) = (None, RowEnds::default(), Vec::new());
            let mut buffer = Vec::new();
            for bytes in text.as_bytes().chunks(block) {
                let before = buffer.len();
                buffer.extend_from_slice(bytes);
                if let Some((_, end)) = ends.scan(bytes) {
                    let rest = buffer.split_off(before + end);
                    rows.extend(objects(&mut names, &buffer));
                    buffer = rest;
                }
            }
            rows.extend(objects(&mut names, &buffer));
            prop_assert_eq!(whole, rows);
        }
    }
}
