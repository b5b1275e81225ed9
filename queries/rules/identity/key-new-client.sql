-- /// rule
-- id          = "key-new-client"
-- title       = "Key was used by a kind of client it never had"
-- version     = 2
-- status      = "stable"
-- severity    = "low"
-- confidence  = "low"
-- source      = ["calls"]
-- requires    = ["caller", "user_agent"]
-- window      = "24h"
-- every       = "15m"
-- baseline    = "30d"
-- entity      = ["credential", "client"]
-- atlas       = ["AML.T0012"]
-- owasp       = ["ASI03:2026"]
-- description = """
-- A key that is known for a week and had few kinds of client in thirty days was used by another: another family of
-- software (its name without the version) together with the way it authenticated. A service does not change its library
-- overnight; who found its key uses what is at hand. The client says what it is, so this is a hint and no proof. Refused
-- calls do not count; temporary keys are taken by their principal."""
-- false_positives = ["A new release with another library", "A developer who tries the service's key by hand"]
-- evasion     = ["Saying what the service's client says", "Keys with many clients or none", "Keys younger than a week"]
-- runbook     = "Ask the key's owner about a release; together with key-new-network treat the key as stolen"
--
-- [params]
-- min_age = { default = "7d", min = "1d", max = "30d", doc = "how long the key must have been known" }
-- max_clients = { default = 5, min = 1, doc = "kinds of client in thirty days above which one more says nothing" }
-- ///
WITH earlier AS (
    SELECT
        coalesce(CASE WHEN credential_id NOT LIKE 'ASIA%' THEN credential_id END, caller) AS credential,
        user_agent,
        user_type,
        min(event_time) AS first_time
    FROM calls
    WHERE event_time >= $baseline_start AND event_time < $window_start
        AND user_agent IS NOT NULL
        AND outcome <> 'failure'
    GROUP BY 1, 2, 3
),

known AS (
    SELECT
        credential,
        min(first_time) AS known_since,
        array_agg(DISTINCT concat(
            regexp_replace(lower(user_agent), '[ /]?v?[0-9].*$', ''), ' as ', coalesce(user_type, 'unknown')
        )) AS clients
    FROM earlier
    WHERE credential IS NOT NULL
    GROUP BY credential
    HAVING min(first_time) <= $window_end - $min_age
),

later AS (
    SELECT
        coalesce(CASE WHEN credential_id NOT LIKE 'ASIA%' THEN credential_id END, caller) AS credential,
        user_agent,
        user_type,
        max(caller) AS caller,
        count(DISTINCT coalesce(request_id, event_id)) AS requests,
        max(coalesce(source_ip, source_ip_prefix)) AS source_ip,
        min(event_time) AS first_seen,
        max(event_time) AS last_seen
    FROM calls
    WHERE event_time >= $window_start AND event_time < $window_end
        AND user_agent IS NOT NULL
        AND outcome <> 'failure'
    GROUP BY 1, 2, 3
),

recent AS (
    SELECT
        credential,
        concat(
            regexp_replace(lower(user_agent), '[ /]?v?[0-9].*$', ''), ' as ', coalesce(user_type, 'unknown')
        ) AS client,
        caller,
        requests,
        user_agent,
        source_ip,
        first_seen,
        last_seen
    FROM later
    WHERE credential IS NOT NULL
)

SELECT
    recent.credential,
    recent.client,
    max(recent.caller) AS caller,
    CAST(sum(recent.requests) AS BIGINT) AS event_count,
    max(recent.user_agent) AS user_agent,
    max(recent.source_ip) AS source_ip,
    max(array_length(known.clients)) AS known_clients,
    min(known.known_since) AS known_since,
    min(recent.first_seen) AS first_seen,
    max(recent.last_seen) AS last_seen
FROM recent
JOIN known ON known.credential = recent.credential
WHERE array_length(known.clients) <= $max_clients
    AND NOT array_has(known.clients, recent.client)
GROUP BY recent.credential, recent.client;

-- /// test
-- name = "a service's key in a shell"
-- at   = 2026-02-01T00:00:00Z
-- given.calls = [
--   { event_time = "-20d", caller = "app", credential_id = "key-1", user_type = "api_key", user_agent = "OpenAI/Python 1.60.{i}", repeat = 19, every = "1d" },
--   { event_time = "-2h", caller = "app", credential_id = "key-1", user_type = "api_key", user_agent = "curl/8.5.0", source_ip = "203.0.113.9", repeat = 3, every = "1m" },
-- ]
-- expect = [{ credential = "key-1", client = "curl as api_key", event_count = 3, user_agent = "curl/8.5.0", source_ip = "203.0.113.9", known_clients = 1, known_since = "-20d", first_seen = "-2h", last_seen = "-118m" }]
-- ///

-- /// test
-- name = "the same software with another kind of login is another client, though it was refused before"
-- at   = 2026-02-01T00:00:00Z
-- given.calls = [
--   { event_time = "-20d", caller = "app", user_type = "api_key", user_agent = "python-requests/2.31", outcome = "failure", repeat = 19, every = "1d" },
--   { event_time = "-20d", caller = "app", user_type = "managed_identity", user_agent = "python-requests/2.31", repeat = 19, every = "1d" },
--   { event_time = "-2h", caller = "app", user_type = "api_key", user_agent = "python-requests/2.32" },
-- ]
-- expect = [{ credential = "app", client = "python-requests as api_key", event_count = 1 }]
-- ///

-- /// test
-- name = "a key a minute younger than a week, or with six kinds of client, says nothing"
-- at   = 2026-02-01T00:00:00Z
-- given.calls = [
--   { event_time = "-10079m", caller = "young", user_agent = "aws-cli/2.17" },
--   { event_time = "-2h", caller = "young", user_agent = "curl/8" },
--   { event_time = "-20d", caller = "many", user_agent = "client-a/1" },
--   { event_time = "-20d", caller = "many", user_agent = "client-b/1" },
--   { event_time = "-20d", caller = "many", user_agent = "client-c/1" },
--   { event_time = "-20d", caller = "many", user_agent = "client-d/1" },
--   { event_time = "-20d", caller = "many", user_agent = "client-e/1" },
--   { event_time = "-20d", caller = "many", user_agent = "client-f/1" },
--   { event_time = "-2h", caller = "many", user_agent = "curl/8" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "a new version of the same software, and a refused call, look alike"
-- at   = 2026-02-01T00:00:00Z
-- given.calls = [
--   { event_time = "-20d", caller = "app", user_agent = "aws-cli/2.17.0 Python/3.12", repeat = 19, every = "1d" },
--   { event_time = "-2h", caller = "app", user_agent = "aws-cli/2.18.1 Python/3.13" },
--   { event_time = "-2h", caller = "app", user_agent = "curl/8", outcome = "failure", error_type = "AccessDenied" },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "a key known for exactly a week, and one with five kinds of client, say something"
-- at   = 2026-02-01T00:00:00Z
-- given.calls = [
--   { event_time = "-7d", caller = "week", user_agent = "aws-cli/2.17" },
--   { event_time = "-2h", caller = "week", user_agent = "curl/8" },
--   { event_time = "-20d", caller = "five", user_agent = "client-a/1" },
--   { event_time = "-20d", caller = "five", user_agent = "client-b/1" },
--   { event_time = "-20d", caller = "five", user_agent = "client-c/1" },
--   { event_time = "-20d", caller = "five", user_agent = "client-d/1" },
--   { event_time = "-20d", caller = "five", user_agent = "client-e/1" },
--   { event_time = "-2h", caller = "five", user_agent = "curl/8" },
-- ]
-- expect = [{ credential = "week", known_clients = 1 }, { credential = "five", known_clients = 5 }]
-- ///
