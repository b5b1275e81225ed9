-- /// rule
-- id          = "vertex-endpoint-changed"
-- title       = "Vertex AI endpoint was created, deleted or given another model"
-- version     = 1
-- status      = "stable"
-- severity    = "medium"
-- confidence  = "medium"
-- source      = ["audit"]
-- requires    = ["action"]
-- window      = "1h"
-- every       = "5m"
-- entity      = ["cloud_account_id", "resource_id", "caller"]
-- atlas       = ["AML.T0018", "AML.T0029"]
-- owasp       = ["LLM03:2025"]
-- description = """
-- Endpoint created, deleted or updated, model deployed, undeployed or its traffic split changed. What answers a
-- customer's prompt is decided here. A long-running operation writes two entries and counts once. Pipelines that are
-- meant to do this are listed in deployers and do not fire."""
-- false_positives = ["A deployment by hand in an emergency", "A pipeline whose identity is not listed"]
-- evasion     = ["Using the pipeline's own identity", "Replacing the model artefact behind an unchanged endpoint"]
-- runbook     = "Compare with the change calendar; if unplanned, undeploy and restore the traffic split, then revoke the caller"
--
-- [params]
-- deployers = { default = [], doc = "callers whose changes are expected" }
-- ///
SELECT
    cloud_account_id,
    resource_id,
    caller,
    count(DISTINCT coalesce(correlation_id, event_id)) AS event_count,
    min(action) AS action,
    CASE WHEN bool_or(lower(action) LIKE '%delete%' OR lower(action) LIKE '%undeploy%') THEN 'high' ELSE 'medium' END AS severity,
    min(event_time) AS first_seen,
    max(event_time) AS last_seen
FROM audit
WHERE event_time >= $window_start AND event_time < $window_end
    AND cloud_provider = 'gcp'
    AND action_class IN ('endpoint.change', 'model.deploy')
    AND outcome <> 'failure'
    AND NOT coalesce(array_has($deployers, caller), FALSE)
GROUP BY cloud_account_id, resource_id, caller;

-- /// test
-- name = "a model deployed by hand fires once for its two log entries"
-- at   = 2026-01-01T01:00:00Z
-- given.audit = [
--   { event_time = "-20m", cloud_provider = "gcp", cloud_account_id = "p", resource_id = "endpoints/1", caller = "dana@example.com", action = "google.cloud.aiplatform.v1.EndpointService.DeployModel", action_class = "endpoint.change", outcome = "success", correlation_id = "op-1", repeat = 2, every = "1m" },
-- ]
-- expect = [{ resource_id = "endpoints/1", caller = "dana@example.com", event_count = 1, severity = "medium", first_seen = "-20m", last_seen = "-19m" }]
-- ///

-- /// test
-- name = "a deleted endpoint is worse"
-- at   = 2026-01-01T01:00:00Z
-- given.audit = [
--   { event_time = "-20m", cloud_provider = "gcp", cloud_account_id = "p", resource_id = "endpoints/1", caller = "dana@example.com", action = "EndpointService.DeleteEndpoint", action_class = "endpoint.change", outcome = "success" },
-- ]
-- expect = [{ severity = "high" }]
-- ///

-- /// test
-- name = "the pipeline, refused attempts, and the moment before the window do not fire"
-- at   = 2026-01-01T01:00:00Z
-- params = { deployers = ["deploy@p.iam.gserviceaccount.com"] }
-- given.audit = [
--   { event_time = "-20m", cloud_provider = "gcp", resource_id = "e", caller = "deploy@p.iam.gserviceaccount.com", action = "DeployModel", action_class = "endpoint.change", outcome = "success" },
--   { event_time = "-20m", cloud_provider = "gcp", resource_id = "e", caller = "mallory", action = "DeployModel", action_class = "endpoint.change", outcome = "failure" },
--   { event_time = "-61m", cloud_provider = "gcp", resource_id = "e", caller = "dana", action = "DeployModel", action_class = "endpoint.change", outcome = "success" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "reading endpoints, and endpoints of another cloud, look alike"
-- at   = 2026-01-01T01:00:00Z
-- given.audit = [
--   { event_time = "-20m", cloud_provider = "gcp", resource_id = "e", caller = "dana", action = "GetEndpoint", action_class = "other", outcome = "success" },
--   { event_time = "-20m", cloud_provider = "azure", resource_id = "d", caller = "dana", action = "deployments/write", action_class = "model.deploy", outcome = "success" },
-- ]
-- expect = []
-- ///
