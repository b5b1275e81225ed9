-- /// rule
-- id          = "key-new-network"
-- title       = "Key was used from a network it never came from"
-- version     = 2
-- status      = "stable"
-- severity    = "medium"
-- confidence  = "medium"
-- source      = ["calls"]
-- requires    = ["caller", "source_ip_prefix"]
-- window      = "24h"
-- every       = "15m"
-- baseline    = "30d"
-- entity      = ["credential", "network"]
-- atlas       = ["AML.T0012"]
-- owasp       = ["ASI03:2026"]
-- description = """
-- A key that is known for a week and came from few networks in thirty days was used from another: the first two parts of
-- the address, which stand for the operator of the network where no log names it. Addresses on a list of hosting
-- providers or anonymising exits count by their narrow network, and with severity high. Temporary keys live for hours,
-- so their principal stands for them. Refused calls say nothing about who holds the key and do not count."""
-- false_positives = ["An office or provider that changed its addresses: many keys at once", "People who travel: list networks of your own and of your VPN as trusted"]
-- evasion     = ["A proxy in the key's own network", "Keys that come from everywhere", "Keys younger than a week", "Logs without an address"]
-- runbook     = "Ask who owns the network and whether the key's owner works there; compare clients, models and hours of the new calls with the key's own; revoke the key if they differ"
--
-- [params]
-- min_age = { default = "7d", min = "1d", max = "30d", doc = "how long the key must have been known" }
-- max_networks = { default = 10, min = 1, doc = "networks of a key in thirty days above which it comes from everywhere" }
-- watched_prefixes = { default = [], doc = "networks of hosting providers and anonymising exits, as 198.51.100.0/24 or 2001:db8:7::/48" }
-- trusted_prefixes = { default = [], doc = "networks of your own, written the same way" }
-- ///
WITH history AS (
    SELECT
        coalesce(CASE WHEN credential_id NOT LIKE 'ASIA%' THEN credential_id END, caller) AS credential,
        source_ip_prefix,
        CASE
            WHEN source_ip_prefix LIKE '%.%'
                THEN concat(split_part(source_ip_prefix, '.', 1), '.', split_part(source_ip_prefix, '.', 2), '.0.0/16')
            ELSE concat(split_part(source_ip_prefix, ':', 1), ':', split_part(source_ip_prefix, ':', 2), '::/32')
        END AS network,
        min(event_time) AS first_time
    FROM calls
    WHERE event_time >= $baseline_start AND event_time < $window_start
        AND source_ip_prefix IS NOT NULL
        AND outcome <> 'failure'
    GROUP BY 1, 2, 3
),

known AS (
    SELECT
        credential,
        min(first_time) AS known_since,
        count(DISTINCT network) AS known_networks,
        array_agg(DISTINCT network) AS networks,
        array_agg(DISTINCT source_ip_prefix) AS prefixes
    FROM history
    WHERE credential IS NOT NULL
    GROUP BY credential
    HAVING min(first_time) <= $window_end - $min_age
),

recent AS (
    SELECT
        coalesce(CASE WHEN credential_id NOT LIKE 'ASIA%' THEN credential_id END, caller) AS credential,
        source_ip_prefix,
        CASE
            WHEN source_ip_prefix LIKE '%.%'
                THEN concat(split_part(source_ip_prefix, '.', 1), '.', split_part(source_ip_prefix, '.', 2), '.0.0/16')
            ELSE concat(split_part(source_ip_prefix, ':', 1), ':', split_part(source_ip_prefix, ':', 2), '::/32')
        END AS network,
        coalesce(array_has($watched_prefixes, source_ip_prefix), FALSE) AS is_watched,
        max(caller) AS caller,
        count(DISTINCT coalesce(request_id, event_id)) AS requests,
        count(DISTINCT model) AS models,
        max(user_agent) AS user_agent,
        min(event_time) AS first_seen,
        max(event_time) AS last_seen
    FROM calls
    WHERE event_time >= $window_start AND event_time < $window_end
        AND source_ip_prefix IS NOT NULL
        AND outcome <> 'failure'
        AND NOT coalesce(array_has($trusted_prefixes, source_ip_prefix), FALSE)
    GROUP BY 1, 2, 3, 4
)

SELECT
    recent.credential,
    recent.network,
    max(recent.caller) AS caller,
    CAST(sum(recent.requests) AS BIGINT) AS event_count,
    min(recent.source_ip_prefix) AS source_ip_prefix,
    max(recent.models) AS models,
    max(recent.user_agent) AS user_agent,
    bool_or(recent.is_watched) AS is_watched,
    CASE WHEN bool_or(recent.is_watched) THEN 'high' ELSE 'medium' END AS severity,
    max(known.known_networks) AS known_networks,
    min(known.known_since) AS known_since,
    min(recent.first_seen) AS first_seen,
    max(recent.last_seen) AS last_seen
FROM recent
JOIN known ON known.credential = recent.credential
WHERE (recent.is_watched AND NOT array_has(known.prefixes, recent.source_ip_prefix))
    OR (known.known_networks <= $max_networks AND NOT array_has(known.networks, recent.network))
GROUP BY recent.credential, recent.network;

-- /// test
-- name = "a key of one office is used from elsewhere"
-- at   = 2026-02-01T00:00:00Z
-- given.calls = [
--   { event_time = "-20d", caller = "app", credential_id = "key-1", source_ip_prefix = "198.51.100.0/24", repeat = 19, every = "1d" },
--   { event_time = "-2h", caller = "app", credential_id = "key-1", source_ip_prefix = "198.51.200.0/24" },
--   { event_time = "-2h", caller = "app", credential_id = "key-1", model = "opus", source_ip_prefix = "203.0.113.0/24", user_agent = "curl/8", repeat = 3, every = "1m" },
-- ]
-- expect = [{ credential = "key-1", network = "203.0.0.0/16", event_count = 3, source_ip_prefix = "203.0.113.0/24", models = 1, user_agent = "curl/8", severity = "medium", known_networks = 1, known_since = "-20d", first_seen = "-2h", last_seen = "-118m" }]
-- ///

-- /// test
-- name = "a watched network counts by its narrow part, IPv6 as well, and is severe"
-- at   = 2026-02-01T00:00:00Z
-- params = { watched_prefixes = ["198.51.200.0/24", "2001:db8:7::/48"] }
-- given.calls = [
--   { event_time = "-20d", caller = "app", credential_id = "key-1", source_ip_prefix = "198.51.100.0/24", repeat = 19, every = "1d" },
--   { event_time = "-20d", caller = "app", credential_id = "key-6", source_ip_prefix = "2001:db8:1::/48", repeat = 19, every = "1d" },
--   { event_time = "-2h", caller = "app", credential_id = "key-1", source_ip_prefix = "198.51.200.0/24" },
--   { event_time = "-2h", caller = "app", credential_id = "key-6", source_ip_prefix = "2001:db8:7::/48" },
-- ]
-- expect = [
--   { credential = "key-1", network = "198.51.0.0/16", severity = "high", is_watched = true },
--   { credential = "key-6", network = "2001:db8::/32", severity = "high" },
-- ]
-- ///

-- /// test
-- name = "a key known for exactly a week fires, and one of ten networks"
-- at   = 2026-02-01T00:00:00Z
-- given.calls = [
--   { event_time = "-20d", caller = "roams", source_ip_prefix = "10.{i}.0.0/24", repeat = 10, every = "1d" },
--   { event_time = "-2h", caller = "roams", source_ip_prefix = "203.0.113.0/24" },
--   { event_time = "-7d", caller = "old", source_ip_prefix = "198.51.100.0/24" },
--   { event_time = "-2h", caller = "old", source_ip_prefix = "203.0.113.0/24" },
-- ]
-- expect = [{ credential = "old" }, { credential = "roams", known_networks = 10 }]
-- ///

-- /// test
-- name = "one a minute younger does not"
-- at   = 2026-02-01T00:00:00Z
-- given.calls = [
--   { event_time = "-10079m", caller = "young", source_ip_prefix = "198.51.100.0/24" },
--   { event_time = "-2h", caller = "young", source_ip_prefix = "203.0.113.0/24" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "keys from everywhere, trusted and neighbouring networks, and refused calls look alike"
-- at   = 2026-02-01T00:00:00Z
-- params = { trusted_prefixes = ["192.0.2.0/24"] }
-- given.calls = [
--   { event_time = "-20d", caller = "roams", source_ip_prefix = "10.{i}.0.0/24", repeat = 11, every = "1d" },
--   { event_time = "-2h", caller = "roams", source_ip_prefix = "203.0.113.0/24" },
--   { event_time = "-20d", caller = "app", source_ip_prefix = "198.51.100.0/24", repeat = 19, every = "1d" },
--   { event_time = "-2h", caller = "app", source_ip_prefix = "198.51.101.0/24" },
--   { event_time = "-2h", caller = "app", source_ip_prefix = "192.0.2.0/24" },
--   { event_time = "-2h", caller = "app", source_ip_prefix = "203.0.113.0/24", outcome = "failure", error_type = "AccessDenied" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "a role's temporary keys are the role, not new keys; networks that it was refused from are not known"
-- at   = 2026-02-01T00:00:00Z
-- given.calls = [
--   { event_time = "-20d", caller = "role/app", source_ip_prefix = "203.0.113.0/24", outcome = "failure" },
--   { event_time = "-20d", caller = "role/app", credential_id = "ASIAOLD{i}", source_ip_prefix = "198.51.100.0/24", repeat = 19, every = "1d" },
--   { event_time = "-2h", caller = "role/app", credential_id = "ASIANEW", source_ip_prefix = "203.0.113.0/24" },
-- ]
-- expect = [{ credential = "role/app", event_count = 1 }]
-- ///
