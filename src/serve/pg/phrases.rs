//! Parts of statements that known programs send, and that cannot be planned here, in words that can. Each is told by all
//! of its words and signs, so that no statement of a person is changed.

use crate::query::lexer::{self, Kind};

/// What is sent, by whom, and what is planned in its place.
const PHRASES: [(&str, &str); 11] = [
    // Grafana, for the schemas of the search path: a function that gives an array stands among the tables.
    (
        "SELECT CASE WHEN trim(s[i]) = '\"$user\"' THEN user ELSE trim(s[i]) END \
         FROM generate_series(\
         array_lower(string_to_array(current_setting('search_path'),','),1), \
         array_upper(string_to_array(current_setting('search_path'),','),1)) as i, \
         string_to_array(current_setting('search_path'),',') s",
        "'public'",
    ),
    // psql, `\du`: an array of a subquery. Nobody is a member of anything here.
    (
        "ARRAY(SELECT b.rolname FROM pg_catalog.pg_auth_members m \
         JOIN pg_catalog.pg_roles b ON (m.roleid = b.oid) WHERE m.member = r.oid)",
        "'{}'",
    ),
    // psql, `\d+ NAME`: likewise, for the options of a table.
    (
        "pg_catalog.array_to_string(c.reloptions || \
         array(select 'toast.' || x from pg_catalog.unnest(tc.reloptions) x), ', ')",
        "''",
    ),
    // psql, `\dn+`: who may do what with a schema is no array.
    ("pg_catalog.array_to_string(n.nspacl, E'\\n')", "NULL"),
    // Metabase, for foreign keys, of which there are none.
    ("= ANY(c.conkey)", "IS NULL"),
    ("= ANY(c.confkey)", "IS NULL"),
    // Metabase, for names of types: all there are stand in the catalog of Postgres, and need no other.
    ("FORMAT('%s', \"c\".\"udt_name\")", "\"c\".\"udt_name\""),
    (
        "FORMAT('\"%s\".\"%s\"', \"c\".\"udt_schema\", \"c\".\"udt_name\")",
        "\"c\".\"udt_name\"",
    ),
    ("FORMAT('%s', \"pt\".\"typname\")", "\"pt\".\"typname\""),
    (
        "FORMAT('\"%s\".\"%s\"', \"ptn\".\"nspname\", \"pt\".\"typname\")",
        "\"pt\".\"typname\"",
    ),
    // Metabase, for the comment on a column.
    (
        "COL_DESCRIPTION(CAST(CAST(FORMAT('%I.%I', CAST(\"c\".\"table_schema\" AS TEXT), \
         CAST(\"c\".\"table_name\" AS TEXT)) AS REGCLASS) AS OID), \"c\".\"ordinal_position\")",
        "NULL",
    ),
];

/// The statement with all of them replaced.
pub(super) fn replaced(statement: &str) -> String {
    let mut text = statement.to_owned();
    for (from, to) in PHRASES {
        let wanted = words(from);
        let mut at = 0;
        loop {
            let found = words(&text[at..]);
            let place = found.windows(wanted.len()).position(|window| {
                let mut pairs = window.iter().zip(&wanted);
                pairs.all(|(found, wanted)| found.is_the_same(wanted))
            });
            let Some(place) = place else { break };
            let start = at + found[place].start;
            let last = &found[place + wanted.len() - 1];
            let end = at + last.start + last.text.len();
            text.replace_range(start..end, to);
            at = start + to.len();
        }
    }
    text
}

struct Word<'a> {
    start: usize,
    text: &'a str,
    is_bare: bool,
}

impl Word<'_> {
    fn is_the_same(&self, other: &Word<'_>) -> bool {
        match self.is_bare && other.is_bare {
            true => self.text.eq_ignore_ascii_case(other.text),
            false => self.text == other.text,
        }
    }
}

fn words(text: &str) -> Vec<Word<'_>> {
    lexer::tokens(text)
        .into_iter()
        .filter(|token| token.is_significant())
        .map(|token| Word {
            start: token.range.start,
            text: token.text(text),
            is_bare: token.kind == Kind::Word,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_is_told_by_its_words_however_they_stand() {
        let sent = "SELECT a.x FROM c\nWHERE a.x = any ( C.conkey )\n  AND b.y = ANY(c.confkey) -- = ANY(c.conkey)";
        assert_eq!(
            replaced(sent),
            "SELECT a.x FROM c\nWHERE a.x IS NULL\n  AND b.y IS NULL -- = ANY(c.conkey)"
        );
        for other in [
            "SELECT * FROM calls WHERE caller = 'ANY(c.conkey)'",
            "SELECT 1 = ANY(c.keys)",
            "",
        ] {
            assert_eq!(replaced(other), other);
        }
    }
}
