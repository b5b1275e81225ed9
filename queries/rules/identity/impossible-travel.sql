-- /// rule
-- id          = "impossible-travel"
-- title       = "Key was used in two places faster than anybody travels"
-- version     = 3
-- status      = "experimental"
-- severity    = "high"
-- confidence  = "medium"
-- source      = ["calls"]
-- requires    = ["caller", "attributes"]
-- window      = "1h"
-- every       = "5m"
-- entity      = ["credential"]
-- atlas       = ["AML.T0012"]
-- owasp       = ["ASI03:2026"]
-- description = """
-- Two calls with one key in a row came from places further apart than 500 km, and further than 800 km/h reach in the
-- time between them; so calls of the same instant on two continents count as well. The place is the one that the log
-- has: what a collector or gateway adds about the client's address, as `geo.location.lat` and `geo.location.lon` in
-- OpenTelemetry or `client.geo.location` in nested records. Calls without a place are passed over, and where no log has
-- places the rule finds nothing."""
-- false_positives = ["Proxies and VPNs whose exits change", "One key for services in several regions: list it in applications", "Addresses whose place is wrong"]
-- evasion     = ["A proxy near the owner of the key", "Logs without places", "Waiting as long as a flight takes"]
-- runbook     = "Compare clients and models on both ends; revoke the key unless its owner uses a proxy there; then look at what the further end asked for"
--
-- [params]
-- max_speed = { default = 800.0, min = 1.0, doc = "kilometres in an hour that a person may travel" }
-- min_distance = { default = 500.0, min = 1.0, doc = "kilometres below which places are one place" }
-- applications = { default = [], doc = "keys that are used in many places by design" }
-- ///
-- Most records say nothing about places; only those that may are parsed.
WITH placed AS (
    SELECT
        coalesce(credential_id, caller) AS credential,
        caller,
        event_time,
        event_id,
        coalesce(source_ip, source_ip_prefix) AS source_ip,
        CASE WHEN attributes LIKE '%geo%' THEN attributes END AS place
    FROM calls
    WHERE event_time >= $window_start AND event_time < $window_end
        AND coalesce(credential_id, caller) IS NOT NULL
        AND outcome <> 'failure'
        AND NOT coalesce(array_has($applications, coalesce(credential_id, caller)), FALSE)
),

located AS (
    SELECT
        credential,
        caller,
        event_time,
        event_id,
        source_ip,
        try_cast(coalesce(
            json_as_text(place, 'attributes', 'geo.location.lat'),
            json_as_text(place, 'attributes', 'client.geo.location.lat'),
            json_as_text(place, 'client', 'geo', 'location', 'lat'),
            json_as_text(place, 'source', 'geo', 'location', 'lat')
        ) AS DOUBLE) AS latitude,
        try_cast(coalesce(
            json_as_text(place, 'attributes', 'geo.location.lon'),
            json_as_text(place, 'attributes', 'client.geo.location.lon'),
            json_as_text(place, 'client', 'geo', 'location', 'lon'),
            json_as_text(place, 'source', 'geo', 'location', 'lon')
        ) AS DOUBLE) AS longitude
    FROM placed
    WHERE place IS NOT NULL
),

hops AS (
    SELECT
        credential,
        caller,
        event_time,
        source_ip,
        latitude,
        longitude,
        lag(event_time) OVER ordered AS from_time,
        lag(source_ip) OVER ordered AS from_ip,
        lag(latitude) OVER ordered AS from_latitude,
        lag(longitude) OVER ordered AS from_longitude
    FROM located
    WHERE latitude IS NOT NULL AND longitude IS NOT NULL
    WINDOW ordered AS (PARTITION BY credential ORDER BY event_time, event_id)
),

-- Distance over the ground on a sphere of 6,371 km.
distances AS (
    SELECT
        credential,
        caller,
        event_time,
        from_time,
        source_ip,
        from_ip,
        (date_part('epoch', event_time) - date_part('epoch', from_time)) / 3600.0 AS hours,
        2 * 6371 * asin(least(1.0, sqrt(
            power(sin(radians(latitude - from_latitude) / 2), 2)
            + cos(radians(latitude)) * cos(radians(from_latitude)) * power(sin(radians(longitude - from_longitude) / 2), 2)
        ))) AS distance
    FROM hops
    WHERE from_time IS NOT NULL
)

-- Compared by multiplying, as calls of the same instant have no speed.
SELECT
    credential,
    max(caller) AS caller,
    count(*) AS event_count,
    max(distance) AS score,
    max(distance) AS distance_km,
    first_value(from_ip ORDER BY distance DESC, event_time) AS from_ip,
    first_value(source_ip ORDER BY distance DESC, event_time) AS source_ip,
    min(hours) * 60 AS shortest_minutes,
    min(from_time) AS first_seen,
    max(event_time) AS last_seen
FROM distances
WHERE distance >= $min_distance AND distance > $max_speed * hours
GROUP BY credential;

-- The distances are those of the haversine formula, worked out apart: Berlin to New York 6,385.00 km.

-- /// test
-- name = "Berlin and New York within half an hour"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-50m", caller = "dana", credential_id = "key-1", source_ip = "198.51.100.7", attributes = '{"attributes":{"geo.location.lat":52.52,"geo.location.lon":13.405}}' },
--   { event_time = "-20m", caller = "dana", credential_id = "key-1", source_ip = "203.0.113.9", attributes = '{"client":{"geo":{"location":{"lat":"40.7128","lon":"-74.006"}}}}' },
-- ]
-- expect = [{ credential = "key-1", event_count = 1, distance_km = 6385.003586, from_ip = "198.51.100.7", source_ip = "203.0.113.9", shortest_minutes = 30.0, first_seen = "-50m", last_seen = "-20m" }]
-- ///

-- /// test
-- name = "the same instant in two places counts"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-50m", event_id = "a", caller = "dana", attributes = '{"attributes":{"geo.location.lat":0,"geo.location.lon":0}}' },
--   { event_time = "-50m", event_id = "b", caller = "dana", attributes = '{"attributes":{"geo.location.lat":0,"geo.location.lon":8}}' },
-- ]
-- expect = [{ credential = "dana", event_count = 1, shortest_minutes = 0.0 }]
-- ///

-- /// test
-- name = "on the equator 4.49 degrees are 499.3 km and 4.5 are 500.4; in 58 minutes 767 km are a flight and 778 are not"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-50m", event_id = "a", caller = "near", attributes = '{"attributes":{"geo.location.lat":0,"geo.location.lon":0}}' },
--   { event_time = "-50m", event_id = "b", caller = "near", attributes = '{"attributes":{"geo.location.lat":0,"geo.location.lon":4.49}}' },
--   { event_time = "-50m", event_id = "c", caller = "far", attributes = '{"attributes":{"geo.location.lat":0,"geo.location.lon":0}}' },
--   { event_time = "-50m", event_id = "d", caller = "far", attributes = '{"attributes":{"geo.location.lat":0,"geo.location.lon":4.5}}' },
--   { event_time = "-59m", caller = "flight", attributes = '{"attributes":{"geo.location.lat":0,"geo.location.lon":0}}' },
--   { event_time = "-1m", caller = "flight", attributes = '{"attributes":{"geo.location.lat":0,"geo.location.lon":6.9}}' },
--   { event_time = "-59m", caller = "faster", attributes = '{"attributes":{"geo.location.lat":0,"geo.location.lon":0}}' },
--   { event_time = "-1m", caller = "faster", attributes = '{"attributes":{"geo.location.lat":0,"geo.location.lon":7}}' },
-- ]
-- expect = [{ credential = "far" }, { credential = "faster", distance_km = 778.364487 }]
-- ///

-- /// test
-- name = "two people, a listed service, refused calls and calls without a place look alike"
-- at   = 2026-01-01T01:00:00Z
-- params = { applications = ["service"] }
-- given.calls = [
--   { event_time = "-50m", caller = "dana", attributes = '{"attributes":{"geo.location.lat":52.52,"geo.location.lon":13.405}}' },
--   { event_time = "-50m", caller = "lee", attributes = '{"attributes":{"geo.location.lat":40.7128,"geo.location.lon":-74.006}}' },
--   { event_time = "-50m", caller = "service", attributes = '{"attributes":{"geo.location.lat":52.52,"geo.location.lon":13.405}}' },
--   { event_time = "-49m", caller = "service", attributes = '{"attributes":{"geo.location.lat":40.7128,"geo.location.lon":-74.006}}' },
--   { event_time = "-49m", caller = "dana", outcome = "failure", attributes = '{"attributes":{"geo.location.lat":40.7128,"geo.location.lon":-74.006}}' },
--   { event_time = "-49m", caller = "dana", source_ip = "203.0.113.9", attributes = '{"attributes":{"geo.note":"unknown"}}' },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "a day in one town, and a flight that takes its time"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-59m", caller = "dana", repeat = 20, every = "1m", attributes = '{"attributes":{"geo.location.lat":52.52,"geo.location.lon":13.405}}' },
--   { event_time = "-39m", caller = "dana", repeat = 20, every = "1m", attributes = '{"attributes":{"geo.location.lat":52.40,"geo.location.lon":13.06}}' },
--   { event_time = "-58m", caller = "lee", attributes = '{"attributes":{"geo.location.lat":0,"geo.location.lon":0}}' },
--   { event_time = "-1m", caller = "lee", attributes = '{"attributes":{"geo.location.lat":0,"geo.location.lon":6.5}}' },
-- ]
-- expect = []
-- ///
