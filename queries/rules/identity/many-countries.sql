-- /// rule
-- id          = "many-countries"
-- title       = "Key was used in three countries in a day"
-- version     = 3
-- status      = "experimental"
-- severity    = "medium"
-- confidence  = "medium"
-- source      = ["calls"]
-- requires    = ["caller", "attributes"]
-- window      = "24h"
-- every       = "1h"
-- entity      = ["credential"]
-- atlas       = ["AML.T0012"]
-- owasp       = ["ASI03:2026"]
-- description = """
-- One key made calls from three countries in a day: it was sold, or it is in a place that everybody can read. The country
-- is the one that the log has: what a collector or gateway adds about the client's address, as `geo.country.iso_code` in
-- OpenTelemetry or `client.geo.country_iso_code` in nested records. Calls without a country are passed over, and where
-- no log has countries the rule finds nothing."""
-- false_positives = ["One key for a team or service in many countries: list it in applications", "VPNs"]
-- evasion     = ["A proxy in the owner's country", "Logs without countries"]
-- runbook     = "Revoke the key unless its owner can name the countries; search repositories and images for it"
--
-- [params]
-- min_countries = { default = 3, min = 2, doc = "countries from which one key was used in a day" }
-- applications = { default = [], doc = "keys that are used in many countries by design" }
-- ///
-- Most records say nothing about places; only those that may are parsed.
WITH placed AS (
    SELECT
        coalesce(CASE WHEN credential_id NOT LIKE 'ASIA%' THEN credential_id END, caller) AS credential,
        caller,
        coalesce(request_id, event_id) AS request,
        event_time,
        source_ip_prefix,
        CASE WHEN attributes LIKE '%geo%' THEN attributes END AS place
    FROM calls
    WHERE event_time >= $window_start AND event_time < $window_end
        AND coalesce(credential_id, caller) IS NOT NULL
        AND outcome <> 'failure'
),

located AS (
    SELECT
        credential,
        caller,
        request,
        event_time,
        source_ip_prefix,
        upper(coalesce(
            json_as_text(place, 'attributes', 'geo.country.iso_code'),
            json_as_text(place, 'attributes', 'geo.country_iso_code'),
            json_as_text(place, 'attributes', 'client.geo.country_iso_code'),
            json_as_text(place, 'client', 'geo', 'country_iso_code'),
            json_as_text(place, 'source', 'geo', 'country_iso_code')
        )) AS country
    FROM placed
    WHERE place IS NOT NULL
)

SELECT
    credential,
    max(caller) AS caller,
    count(DISTINCT request) AS event_count,
    count(DISTINCT country) AS countries,
    array_to_string(array_sort(array_agg(DISTINCT country)), ' ') AS country_codes,
    count(DISTINCT source_ip_prefix) AS networks,
    min(event_time) AS first_seen,
    max(event_time) AS last_seen
FROM located
WHERE country IS NOT NULL
    AND NOT coalesce(array_has($applications, credential), FALSE)
GROUP BY credential
HAVING count(DISTINCT country) >= $min_countries;

-- /// test
-- name = "three countries in three kinds of record"
-- at   = 2026-01-02T00:00:00Z
-- given.calls = [
--   { event_time = "-20h", caller = "dana", credential_id = "key-1", source_ip_prefix = "198.51.100.0/24", attributes = '{"attributes":{"geo.country.iso_code":"DE"}}' },
--   { event_time = "-10h", caller = "dana", credential_id = "key-1", source_ip_prefix = "203.0.113.0/24", attributes = '{"client":{"geo":{"country_iso_code":"br"}}}' },
--   { event_time = "-2h", caller = "dana", credential_id = "key-1", source_ip_prefix = "203.0.113.0/24", attributes = '{"source":{"geo":{"country_iso_code":"VN"}}}' },
-- ]
-- expect = [{ credential = "key-1", event_count = 3, countries = 3, country_codes = "BR DE VN", networks = 2, first_seen = "-20h", last_seen = "-2h" }]
-- ///

-- /// test
-- name = "two countries are not enough, in capitals or not, nor a third the day before"
-- at   = 2026-01-02T00:00:00Z
-- given.calls = [
--   { event_time = "-20h", caller = "dana", attributes = '{"attributes":{"geo.country.iso_code":"DE"}}' },
--   { event_time = "-19h", caller = "dana", attributes = '{"attributes":{"geo.country.iso_code":"de"}}' },
--   { event_time = "-10h", caller = "dana", attributes = '{"attributes":{"geo.country.iso_code":"BR"}}' },
--   { event_time = "-25h", caller = "dana", attributes = '{"attributes":{"geo.country.iso_code":"VN"}}' },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "three people in three countries, a listed service, and refused calls look alike"
-- at   = 2026-01-02T00:00:00Z
-- params = { applications = ["service"] }
-- given.calls = [
--   { event_time = "-20h", caller = "a", attributes = '{"attributes":{"geo.country.iso_code":"DE"}}' },
--   { event_time = "-20h", caller = "b", attributes = '{"attributes":{"geo.country.iso_code":"BR"}}' },
--   { event_time = "-20h", caller = "c", attributes = '{"attributes":{"geo.country.iso_code":"VN"}}' },
--   { event_time = "-20h", caller = "service", attributes = '{"attributes":{"geo.country.iso_code":"DE"}}' },
--   { event_time = "-20h", caller = "service", attributes = '{"attributes":{"geo.country.iso_code":"BR"}}' },
--   { event_time = "-20h", caller = "service", attributes = '{"attributes":{"geo.country.iso_code":"VN"}}' },
--   { event_time = "-20h", caller = "a", outcome = "failure", attributes = '{"attributes":{"geo.country.iso_code":"BR"}}' },
--   { event_time = "-20h", caller = "a", outcome = "failure", attributes = '{"attributes":{"geo.country.iso_code":"VN"}}' },
-- ]
-- expect = []
-- ///
