-- /// panel
-- id          = "control-changes"
-- title       = "Deployment and guardrail changes"
-- board       = "security"
-- position    = 13
-- size        = "half"
-- chart       = "table"
-- refresh     = "1m"
-- description = """
-- Management operations on guardrails, models, endpoints, agents, knowledge bases, logging, policies and keys, the
-- newest first; also those that were refused."""
-- ///
SELECT
    event_time AS time,
    action_class AS change,
    action,
    coalesce(resource_id, resource_type) AS resource,
    caller,
    outcome
FROM audit
WHERE event_time >= $from AND event_time < $to
    AND (
        action_class LIKE 'guardrail.%' OR action_class LIKE 'model.%' OR action_class LIKE 'logging.%'
        OR action_class LIKE 'agent.%' OR action_class LIKE 'knowledge_base.%' OR action_class LIKE 'key.%'
        OR action_class IN ('endpoint.change', 'capacity.change', 'policy.change', 'role.change', 'network.change')
    )
    AND action_class NOT IN ('model.list', 'key.read')
    AND ($caller IS NULL OR caller = $caller)
ORDER BY time DESC
LIMIT 100
