-- /// rule
-- id          = "model-fingerprint-change"
-- title       = "Another model answered than the one that was approved"
-- version     = 1
-- status      = "stable"
-- severity    = "critical"
-- confidence  = "high"
-- source      = ["calls"]
-- requires    = ["model"]
-- window      = "15m"
-- every       = "1m"
-- entity      = ["deployment", "kind"]
-- atlas       = ["AML.T0018", "AML.T0010.003"]
-- owasp       = ["LLM03:2025"]
-- description = """
-- Compares what served a call with a lock: the version, hash or signer that was approved for a deployment. Version is
-- the model_version of the record, else the model that answered; hash is its digest or the provider's system
-- fingerprint; signer is who signed the artefact. Only what the lock names is checked, and an answer that lacks a value
-- the lock asks for is not the approved one. With an empty lock nothing fires."""
-- false_positives = ["A planned upgrade whose lock was not extended first", "Providers that change their fingerprint often: lock the version instead"]
-- evasion     = ["A server that reports the approved values", "Deployments that are not in the lock"]
-- runbook     = "Take the deployment out of traffic; compare the artefact's digest with the registry, and find who deployed since first_seen"
--
-- [params]
-- lock = { default = [], doc = "approved values as deployment/kind=value, kind being version, hash or signer; several values of a kind are all approved" }
--
-- [exempt]
-- rename = "what a deployment should serve is locked under its name by a parameter"
-- ///
WITH records AS (
    -- In a CASE, so that only records of locked deployments are parsed: the optimiser may move parsing below the filter.
    SELECT
        event_time,
        coalesce(model_deployment, model) AS deployment,
        response_model,
        CASE
            WHEN strpos(concat(',', array_to_string($lock, ',')), concat(',', coalesce(model_deployment, model), '/')) > 0
                THEN coalesce(attributes, '{}')
        END AS record
    FROM calls
    WHERE event_time >= $window_start AND event_time < $window_end
        AND record_role = 'primary'
        AND outcome = 'success'
),

served AS (
    SELECT
        deployment,
        coalesce(
            json_as_text(record, 'model_version'),
            json_as_text(record, 'attributes', 'model.version'),
            response_model
        ) AS version,
        coalesce(
            json_as_text(record, 'model_hash'),
            json_as_text(record, 'model_digest'),
            json_as_text(record, 'model_sha256'),
            json_as_text(record, 'attributes', 'model.hash'),
            json_as_text(record, 'attributes', 'openai.response.system_fingerprint'),
            json_as_text(record, 'attributes', 'gen_ai.openai.response.system_fingerprint')
        ) AS hash,
        coalesce(
            json_as_text(record, 'model_signer'),
            json_as_text(record, 'attributes', 'model.signer')
        ) AS signer,
        event_time
    FROM records
    WHERE record IS NOT NULL
),

fingerprints AS (
    SELECT
        deployment,
        version,
        hash,
        signer,
        count(*) AS event_count,
        min(event_time) AS first_seen,
        max(event_time) AS last_seen
    FROM served
    GROUP BY deployment, version, hash, signer
),

kinds AS (
    SELECT
        deployment,
        version,
        hash,
        signer,
        event_count,
        first_seen,
        last_seen,
        unnest(make_array('version', 'hash', 'signer')) AS kind
    FROM fingerprints
),

found AS (
    SELECT
        deployment,
        kind,
        coalesce(CASE kind WHEN 'version' THEN version WHEN 'hash' THEN hash ELSE signer END, '(none)') AS found_value,
        event_count,
        first_seen,
        last_seen
    FROM kinds
)

SELECT
    deployment,
    kind,
    sum(event_count) AS event_count,
    array_agg(DISTINCT found_value ORDER BY found_value) AS served_values,
    min(first_seen) AS first_seen,
    max(last_seen) AS last_seen
FROM found
WHERE strpos(concat(',', array_to_string($lock, ',')), concat(',', deployment, '/', kind, '=')) > 0
    AND NOT array_has($lock, concat(deployment, '/', kind, '=', found_value))
GROUP BY deployment, kind;

-- /// test
-- name = "another version, a missing hash, each by its own lock"
-- at   = 2026-01-01T01:00:00Z
-- params = { lock = ["fraud/version=7", "spam/hash=abc", "gpt-4o/version=gpt-4o-2024-08-06"] }
-- given.calls = [
--   { event_time = "-9m", model = "fraud", attributes = '{"model_version":"7"}', repeat = 5, every = "1s" },
--   { event_time = "-8m", model = "fraud", attributes = '{"model_version":8}', repeat = 3, every = "1s" },
--   { event_time = "-8m", model = "spam", attributes = '{"model_version":"1"}', repeat = 2, every = "1s" },
--   { event_time = "-8m", model = "gpt-4o", response_model = "gpt-4o-2024-11-20" },
-- ]
-- expect = [
--   { deployment = "fraud", kind = "version", event_count = 3, served_values = ["8"], first_seen = "-8m" },
--   { deployment = "spam", kind = "hash", event_count = 2, served_values = ["(none)"] },
--   { deployment = "gpt-4o", kind = "version", event_count = 1, served_values = ["gpt-4o-2024-11-20"] },
-- ]
-- ///

-- /// test
-- name = "every approved value is approved; failures and other minutes do not count"
-- at   = 2026-01-01T01:00:00Z
-- params = { lock = ["prod/version=7", "prod/version=8", "prod/signer=release"] }
-- given.calls = [
--   { event_time = "-9m", model = "fraud", model_deployment = "prod", attributes = '{"model_version":"7","model_signer":"release"}' },
--   { event_time = "-9m", model = "fraud", model_deployment = "prod", attributes = '{"model_version":"8","attributes":{"model.signer":"release"}}' },
--   { event_time = "-9m", model = "fraud", model_deployment = "prod", outcome = "failure" },
--   { event_time = "-16m", model = "fraud", model_deployment = "prod", attributes = '{"model_version":"9"}' },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "deployments that are not in the lock, and names that only begin alike, look alike"
-- at   = 2026-01-01T01:00:00Z
-- params = { lock = ["fraud/version=7"] }
-- given.calls = [
--   { event_time = "-9m", model = "fraud-canary", attributes = '{"model_version":"9"}' },
--   { event_time = "-9m", model = "fra", attributes = '{"model_version":"9"}' },
--   { event_time = "-9m", model = "spam", attributes = '{"model_version":"9"}' },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///
