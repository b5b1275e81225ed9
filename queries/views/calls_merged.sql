-- /// view
-- name        = "calls_merged"
-- description = """
-- One row a call, out of all the logs that tell of it. A primary record is kept and its empty columns are filled from
-- the supplements with the same identity: account and request for AWS, correlation id for Azure and its gateway, trace
-- and span for OpenTelemetry. Supplements are brought to one row an identity first, so that no primary is multiplied.
-- A call that any of them knows to be blocked is blocked: the others saw it fail, or saw an answer.
-- A supplement without a primary is a call of its own where its log tells of calls (CloudTrail, a gateway, an audit
-- log): a refused call is often in no other. `match` says how they were joined: `exact`, or `heuristic` for Vertex,
-- whose logs share no id; there, an audit entry belongs to the logged request of the same project and model that began
-- nearest to it, within five seconds, when each is the other's nearest. `supplement_ids` are the `event_id`s of the
-- supplements, under which their texts and findings are kept."""
-- margin      = "15m"
-- span_ms     = "record_span_ms"
-- ///
WITH nearby AS (
    SELECT *
    FROM calls
    -- Two logs of one call may differ by minutes, so each side is read a little beyond the window.
    WHERE event_time >= $window_start - INTERVAL '15 minutes' AND event_time < $window_end + INTERVAL '15 minutes'
),

-- One call of Azure OpenAI may be in three primary records: the request, with caller or tokens; the same request once
-- more, nearly empty; and the gateway's. Which of them exist is known only here. The least rank stays primary.
azure AS (
    SELECT
        event_id,
        source_format,
        record_role,
        correlation_id,
        request_id,
        CASE
            WHEN source_format = 'azure.apim.gateway' THEN 3
            WHEN caller IS NULL AND coalesce(input_tokens, 0) = 0 AND coalesce(output_tokens, 0) = 0 THEN 2
            ELSE 1
        END AS rank
    FROM nearby
    WHERE source_format IN (
            'azure.openai.request_response', 'azure.openai.request_usage', 'azure.apim.gateway', 'azure.apim.gateway_llm'
        )
        AND correlation_id IS NOT NULL
),

-- A gateway has a correlation id of its own, and the service's in the headers of the answer, if it logs them.
gateways AS (
    SELECT gateway.correlation_id, max(gateway.request_id) AS service_id
    FROM (SELECT DISTINCT correlation_id FROM azure WHERE source_format LIKE 'azure.openai.%') AS service
    JOIN azure AS gateway ON service.correlation_id = gateway.request_id
    WHERE gateway.source_format = 'azure.apim.gateway' AND gateway.request_id <> gateway.correlation_id
    GROUP BY gateway.correlation_id
),

requests AS (
    SELECT correlation_id AS service_id, min(rank) AS rank
    FROM azure
    WHERE source_format = 'azure.openai.request_response' AND record_role = 'primary'
    GROUP BY correlation_id
),

azure_calls AS (
    SELECT
        azure.event_id,
        azure.record_role,
        azure.rank,
        coalesce(gateways.service_id, azure.correlation_id) AS service_id
    FROM gateways
    RIGHT JOIN azure ON gateways.correlation_id = azure.correlation_id
    WHERE azure.source_format <> 'azure.openai.request_usage'
),

vertex AS (
    SELECT
        event_id,
        source_format,
        record_role,
        cloud_account_id,
        coalesce(operation, '') AS operation,
        lower(coalesce(operation_raw, '')) LIKE '%sanitize%' AS is_check,
        coalesce(correlation_id, event_id) AS entry,
        event_time,
        model,
        outcome
    FROM nearby
    WHERE source_format IN ('gcp.vertex.audit', 'gcp.vertex.request_response')
),

-- Both entries of a streamed call, its first and its last, are one entry that began with the first. Nearly every entry
-- has one record, and as many partitions of a window cost eight times of what groups and a join do.
vertex_entries AS (
    SELECT
        vertex.event_id,
        vertex.source_format = 'gcp.vertex.audit' AS is_entry,
        vertex.record_role,
        vertex.cloud_account_id,
        vertex.operation,
        vertex.is_check,
        vertex.entry,
        whole.began,
        whole.model,
        whole.has_failed
    FROM (
        SELECT
            source_format,
            cloud_account_id,
            entry,
            CAST(min(event_time) AS BIGINT) AS began,
            max(model) AS model,
            max(CASE WHEN outcome = 'failure' THEN 1 ELSE 0 END) AS has_failed
        FROM vertex
        GROUP BY source_format, cloud_account_id, entry
    ) AS whole
    JOIN vertex
        ON whole.source_format = vertex.source_format
        AND whole.entry = vertex.entry
        AND (whole.cloud_account_id IS NOT DISTINCT FROM vertex.cloud_account_id)
),

-- Refused calls and counts of tokens are in no log of requests, and a check by Model Armor is no call.
vertex_neighbours AS (
    SELECT
        *,
        last_value(CASE WHEN is_entry THEN began END) IGNORE NULLS OVER earlier AS entry_before,
        first_value(CASE WHEN is_entry THEN began END) IGNORE NULLS OVER later AS entry_after,
        last_value(CASE WHEN is_entry THEN entry END) IGNORE NULLS OVER earlier AS entry_before_id,
        first_value(CASE WHEN is_entry THEN entry END) IGNORE NULLS OVER later AS entry_after_id,
        last_value(CASE WHEN NOT is_entry THEN began END) IGNORE NULLS OVER earlier AS call_before,
        first_value(CASE WHEN NOT is_entry THEN began END) IGNORE NULLS OVER later AS call_after,
        last_value(CASE WHEN NOT is_entry THEN entry END) IGNORE NULLS OVER earlier AS call_before_id,
        first_value(CASE WHEN NOT is_entry THEN entry END) IGNORE NULLS OVER later AS call_after_id
    FROM (
        SELECT
            *,
            cloud_account_id IS NOT NULL AND model IS NOT NULL AND operation <> 'count_tokens' AND NOT is_check
                AND NOT (is_entry AND has_failed = 1) AS can_match
        FROM vertex_entries
    )
    WINDOW
        earlier AS (
            PARTITION BY can_match, cloud_account_id, model ORDER BY began, event_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ),
        later AS (
            PARTITION BY can_match, cloud_account_id, model ORDER BY began, event_id
            ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
        )
),

-- A pair is named by both of its sides. Only where each is the other's nearest do both give the same name. Times are
-- microseconds.
vertex_calls AS (
    SELECT
        event_id,
        is_entry,
        is_check,
        record_role,
        concat(cloud_account_id, '/', entry) AS entry,
        CASE
            WHEN NOT can_match THEN NULL
            WHEN is_entry THEN CASE
                WHEN coalesce(began - call_before, 5000001) <= coalesce(call_after - began, 5000001)
                    THEN CASE WHEN began - call_before <= 5000000 THEN concat(call_before_id, '/', entry) END
                WHEN call_after - began <= 5000000 THEN concat(call_after_id, '/', entry)
            END
            WHEN coalesce(began - entry_before, 5000001) <= coalesce(entry_after - began, 5000001)
                THEN CASE WHEN began - entry_before <= 5000000 THEN concat(entry, '/', entry_before_id) END
            WHEN entry_after - began <= 5000000 THEN concat(entry, '/', entry_after_id)
        END AS pair
    FROM vertex_neighbours
),

-- What is not settled by a record alone.
settled AS (
    SELECT event_id, max(identity) AS identity, max(role) AS role
    FROM (
        SELECT
            azure_calls.event_id,
            concat('azure/', azure_calls.service_id) AS identity,
            CASE
                WHEN requests.rank < azure_calls.rank THEN 'supplement'
                ELSE azure_calls.record_role
            END AS role
        FROM requests
        RIGHT JOIN azure_calls ON requests.service_id = azure_calls.service_id
        UNION ALL
        SELECT
            event_id,
            CASE
                WHEN is_check THEN NULL
                WHEN is_entry THEN concat('gcp/', coalesce(pair, entry))
                WHEN pair IS NOT NULL THEN concat('gcp/', pair)
            END AS identity,
            CASE WHEN is_entry THEN 'supplement' ELSE record_role END AS role
        FROM vertex_calls
    )
    GROUP BY event_id
),

records AS (
    SELECT
        *,
        CASE
            WHEN source_format LIKE 'aws.%' AND request_id IS NOT NULL
                THEN concat('aws/', cloud_account_id, '/', request_id)
            WHEN source_format LIKE 'azure.%' AND correlation_id IS NOT NULL
                THEN concat('azure/', correlation_id)
            WHEN source_format LIKE 'otel.%' AND span_id IS NOT NULL
                THEN concat('otel/', trace_id, '/', span_id)
        END AS identity,
        record_role AS role
    FROM nearby
    WHERE source_format NOT IN (
        'azure.openai.request_response', 'azure.apim.gateway', 'azure.apim.gateway_llm',
        'gcp.vertex.audit', 'gcp.vertex.request_response'
    )
    UNION ALL
    SELECT
        nearby.*,
        settled.identity,
        coalesce(settled.role, nearby.record_role) AS role
    FROM settled
    RIGHT JOIN nearby ON settled.event_id = nearby.event_id
    WHERE nearby.source_format IN (
        'azure.openai.request_response', 'azure.apim.gateway', 'azure.apim.gateway_llm',
        'gcp.vertex.audit', 'gcp.vertex.request_response'
    )
),

primaries AS (
    SELECT * FROM records WHERE role = 'primary'
),

supplements AS (
    SELECT
        coalesce(identity, event_id) AS identity,
        count(*) AS records,
        array_agg(event_id) AS ids,
        bool_or(
            source_format IN ('aws.cloudtrail', 'azure.apim.gateway', 'azure.apim.gateway_llm')
            OR (source_format = 'gcp.vertex.audit' AND lower(coalesce(operation_raw, '')) NOT LIKE '%sanitize%')
        ) AS is_call,
        min(event_time) AS event_time,
        max(event_time) AS last_event_time,
        max(log_time) AS log_time,
        min(event_id) AS event_id,
        min(source_format) AS source_format,
        max(source_file) AS source_file,
        max(source_offset) AS source_offset,
        max(provider) AS provider,
        max(operation) AS operation,
        max(operation_raw) AS operation_raw,
        max(model) AS model,
        max(model_family) AS model_family,
        max(response_model) AS response_model,
        max(model_id_raw) AS model_id_raw,
        max(model_deployment) AS model_deployment,
        max(request_id) AS request_id,
        max(correlation_id) AS correlation_id,
        max(response_id) AS response_id,
        max(trace_id) AS trace_id,
        max(span_id) AS span_id,
        max(conversation_id) AS conversation_id,
        max(cloud_provider) AS cloud_provider,
        max(cloud_account_id) AS cloud_account_id,
        max(cloud_region) AS cloud_region,
        max(inference_region) AS inference_region,
        max(cloud_resource_id) AS cloud_resource_id,
        max(caller) AS caller,
        max(user_type) AS user_type,
        max(user_name) AS user_name,
        max(user_email) AS user_email,
        max(user_session) AS user_session,
        max(credential_id) AS credential_id,
        max(end_user_id) AS end_user_id,
        max(team) AS team,
        max(service_name) AS service_name,
        max(source_ip) AS source_ip,
        max(source_ip_valid) AS source_ip_valid,
        max(source_ip_prefix) AS source_ip_prefix,
        max(user_agent) AS user_agent,
        max(server_address) AS server_address,
        coalesce(max(outcome) FILTER (WHERE outcome = 'blocked'), max(nullif(outcome, 'unknown'))) AS outcome,
        max(http_status_code) AS http_status_code,
        max(error_type) AS error_type,
        first_value(finish_reasons ORDER BY event_time, event_id) FILTER (WHERE finish_reasons IS NOT NULL) AS finish_reasons,
        max(request_stream) AS request_stream,
        max(cache_hit) AS cache_hit,
        max(duration_ms) AS duration_ms,
        max(time_to_first_chunk_ms) AS time_to_first_chunk_ms,
        max(input_tokens) AS input_tokens,
        max(input_tokens_uncached) AS input_tokens_uncached,
        max(cache_read_input_tokens) AS cache_read_input_tokens,
        max(cache_write_input_tokens) AS cache_write_input_tokens,
        max(output_tokens) AS output_tokens,
        max(reasoning_output_tokens) AS reasoning_output_tokens,
        max(total_tokens) AS total_tokens,
        max(tokens_source) AS tokens_source,
        max(request_bytes) AS request_bytes,
        max(response_bytes) AS response_bytes,
        max(input_text_length) AS input_text_length,
        max(output_text_length) AS output_text_length,
        max(message_count) AS message_count,
        max(system_prompt_present) AS system_prompt_present,
        max(tool_definition_count) AS tool_definition_count,
        max(tool_call_count) AS tool_call_count,
        first_value(tool_names ORDER BY event_time, event_id) FILTER (WHERE tool_names IS NOT NULL) AS tool_names,
        max(media_count) AS media_count,
        max(temperature) AS temperature,
        max(top_p) AS top_p,
        max(max_tokens) AS max_tokens,
        first_value(guardrail_ids ORDER BY event_time, event_id) FILTER (WHERE guardrail_ids IS NOT NULL) AS guardrail_ids,
        -- The strongest of them.
        coalesce(
            max(guardrail_action) FILTER (WHERE guardrail_action = 'blocked'),
            max(nullif(guardrail_action, 'none')),
            max(guardrail_action)
        ) AS guardrail_action,
        first_value(guardrail_policies ORDER BY event_time, event_id) FILTER (WHERE guardrail_policies IS NOT NULL) AS guardrail_policies,
        first_value(guardrail_categories ORDER BY event_time, event_id) FILTER (WHERE guardrail_categories IS NOT NULL) AS guardrail_categories,
        max(guardrail_max_severity) AS guardrail_max_severity,
        first_value(guardrail_findings ORDER BY event_time, event_id) FILTER (WHERE guardrail_findings IS NOT NULL) AS guardrail_findings,
        max(cost_usd) AS cost_usd,
        max(cost_source) AS cost_source,
        max(prediction_class) AS prediction_class,
        max(prediction_confidence) AS prediction_confidence,
        max(prediction_entropy) AS prediction_entropy,
        max(input_oov_rate) AS input_oov_rate,
        first_value(tags ORDER BY event_time, event_id) FILTER (WHERE tags IS NOT NULL) AS tags,
        max(content_state) AS content_state,
        max(input_uri) AS input_uri,
        max(output_uri) AS output_uri,
        first_value(input_sha256 ORDER BY event_time, event_id) FILTER (WHERE input_sha256 IS NOT NULL) AS input_sha256,
        first_value(output_sha256 ORDER BY event_time, event_id) FILTER (WHERE output_sha256 IS NOT NULL) AS output_sha256,
        max(input_entropy) AS input_entropy,
        first_value(input_sketch ORDER BY event_time, event_id) FILTER (WHERE input_sketch IS NOT NULL) AS input_sketch,
        max(injection_score) AS injection_score,
        first_value(injection_signatures ORDER BY event_time, event_id) FILTER (WHERE injection_signatures IS NOT NULL) AS injection_signatures,
        first_value(injection_categories ORDER BY event_time, event_id) FILTER (WHERE injection_categories IS NOT NULL) AS injection_categories,
        first_value(injection_findings ORDER BY event_time, event_id) FILTER (WHERE injection_findings IS NOT NULL) AS injection_findings,
        max(hidden_character_count) AS hidden_character_count,
        first_value(input_pii_kinds ORDER BY event_time, event_id) FILTER (WHERE input_pii_kinds IS NOT NULL) AS input_pii_kinds,
        max(input_pii_count) AS input_pii_count,
        first_value(output_pii_kinds ORDER BY event_time, event_id) FILTER (WHERE output_pii_kinds IS NOT NULL) AS output_pii_kinds,
        max(output_pii_count) AS output_pii_count,
        max(attributes) AS attributes,
        first_value(parse_warnings ORDER BY event_time, event_id) FILTER (WHERE parse_warnings IS NOT NULL) AS parse_warnings,
        min(hour) AS hour
    FROM records
    WHERE role = 'supplement'
    GROUP BY coalesce(identity, event_id)
)

SELECT
    coalesce(primaries.event_time, supplements.event_time) AS event_time,
    coalesce(primaries.log_time, supplements.log_time) AS log_time,
    coalesce(primaries.event_id, supplements.event_id) AS event_id,
    coalesce(primaries.source_format, supplements.source_format) AS source_format,
    'primary' AS record_role,
    coalesce(primaries.source_file, supplements.source_file) AS source_file,
    coalesce(primaries.source_offset, supplements.source_offset) AS source_offset,
    coalesce(primaries.provider, supplements.provider) AS provider,
    coalesce(primaries.operation, supplements.operation) AS operation,
    coalesce(primaries.operation_raw, supplements.operation_raw) AS operation_raw,
    coalesce(primaries.model, supplements.model) AS model,
    coalesce(primaries.model_family, supplements.model_family) AS model_family,
    coalesce(primaries.response_model, supplements.response_model) AS response_model,
    coalesce(primaries.model_id_raw, supplements.model_id_raw) AS model_id_raw,
    coalesce(primaries.model_deployment, supplements.model_deployment) AS model_deployment,
    coalesce(primaries.request_id, supplements.request_id) AS request_id,
    coalesce(primaries.correlation_id, supplements.correlation_id) AS correlation_id,
    coalesce(primaries.response_id, supplements.response_id) AS response_id,
    coalesce(primaries.trace_id, supplements.trace_id) AS trace_id,
    coalesce(primaries.span_id, supplements.span_id) AS span_id,
    coalesce(primaries.conversation_id, supplements.conversation_id) AS conversation_id,
    coalesce(primaries.cloud_provider, supplements.cloud_provider) AS cloud_provider,
    coalesce(primaries.cloud_account_id, supplements.cloud_account_id) AS cloud_account_id,
    coalesce(primaries.cloud_region, supplements.cloud_region) AS cloud_region,
    coalesce(primaries.inference_region, supplements.inference_region) AS inference_region,
    coalesce(primaries.cloud_resource_id, supplements.cloud_resource_id) AS cloud_resource_id,
    -- A service is the caller where nobody is named, and another record may name somebody.
    CASE
        WHEN primaries.user_type = 'service' THEN coalesce(supplements.caller, primaries.caller)
        ELSE coalesce(primaries.caller, supplements.caller)
    END AS caller,
    CASE
        WHEN primaries.user_type = 'service' AND supplements.caller IS NOT NULL THEN supplements.user_type
        ELSE coalesce(primaries.user_type, supplements.user_type)
    END AS user_type,
    coalesce(primaries.user_name, supplements.user_name) AS user_name,
    coalesce(primaries.user_email, supplements.user_email) AS user_email,
    coalesce(primaries.user_session, supplements.user_session) AS user_session,
    coalesce(primaries.credential_id, supplements.credential_id) AS credential_id,
    coalesce(primaries.end_user_id, supplements.end_user_id) AS end_user_id,
    coalesce(primaries.team, supplements.team) AS team,
    coalesce(primaries.service_name, supplements.service_name) AS service_name,
    coalesce(primaries.source_ip, supplements.source_ip) AS source_ip,
    coalesce(primaries.source_ip_valid, supplements.source_ip_valid) AS source_ip_valid,
    coalesce(primaries.source_ip_prefix, supplements.source_ip_prefix) AS source_ip_prefix,
    coalesce(primaries.user_agent, supplements.user_agent) AS user_agent,
    coalesce(primaries.server_address, supplements.server_address) AS server_address,
    -- Who does not see the filter sees only that the call failed, or that it was answered.
    coalesce(
        CASE WHEN supplements.outcome = 'blocked' THEN supplements.outcome END,
        nullif(primaries.outcome, 'unknown'),
        supplements.outcome,
        'unknown'
    ) AS outcome,
    coalesce(primaries.http_status_code, supplements.http_status_code) AS http_status_code,
    coalesce(primaries.error_type, supplements.error_type) AS error_type,
    coalesce(primaries.finish_reasons, supplements.finish_reasons) AS finish_reasons,
    coalesce(primaries.request_stream, supplements.request_stream) AS request_stream,
    coalesce(primaries.cache_hit, supplements.cache_hit) AS cache_hit,
    coalesce(primaries.duration_ms, supplements.duration_ms) AS duration_ms,
    coalesce(primaries.time_to_first_chunk_ms, supplements.time_to_first_chunk_ms) AS time_to_first_chunk_ms,
    coalesce(primaries.input_tokens, supplements.input_tokens) AS input_tokens,
    CASE
        WHEN primaries.cache_read_input_tokens IS NULL AND supplements.cache_read_input_tokens IS NOT NULL
            THEN coalesce(supplements.input_tokens_uncached, primaries.input_tokens_uncached)
        ELSE coalesce(primaries.input_tokens_uncached, supplements.input_tokens_uncached)
    END AS input_tokens_uncached,
    coalesce(primaries.cache_read_input_tokens, supplements.cache_read_input_tokens) AS cache_read_input_tokens,
    coalesce(primaries.cache_write_input_tokens, supplements.cache_write_input_tokens) AS cache_write_input_tokens,
    coalesce(primaries.output_tokens, supplements.output_tokens) AS output_tokens,
    coalesce(primaries.reasoning_output_tokens, supplements.reasoning_output_tokens) AS reasoning_output_tokens,
    coalesce(primaries.total_tokens, supplements.total_tokens) AS total_tokens,
    coalesce(nullif(primaries.tokens_source, 'absent'), supplements.tokens_source, 'absent') AS tokens_source,
    coalesce(primaries.request_bytes, supplements.request_bytes) AS request_bytes,
    coalesce(primaries.response_bytes, supplements.response_bytes) AS response_bytes,
    coalesce(primaries.input_text_length, supplements.input_text_length) AS input_text_length,
    coalesce(primaries.output_text_length, supplements.output_text_length) AS output_text_length,
    coalesce(primaries.message_count, supplements.message_count) AS message_count,
    coalesce(primaries.system_prompt_present, supplements.system_prompt_present) AS system_prompt_present,
    coalesce(primaries.tool_definition_count, supplements.tool_definition_count) AS tool_definition_count,
    coalesce(primaries.tool_call_count, supplements.tool_call_count) AS tool_call_count,
    coalesce(primaries.tool_names, supplements.tool_names) AS tool_names,
    coalesce(primaries.media_count, supplements.media_count) AS media_count,
    coalesce(primaries.temperature, supplements.temperature) AS temperature,
    coalesce(primaries.top_p, supplements.top_p) AS top_p,
    coalesce(primaries.max_tokens, supplements.max_tokens) AS max_tokens,
    coalesce(primaries.guardrail_ids, supplements.guardrail_ids) AS guardrail_ids,
    coalesce(
        CASE WHEN supplements.guardrail_action = 'blocked' THEN supplements.guardrail_action END,
        primaries.guardrail_action,
        supplements.guardrail_action
    ) AS guardrail_action,
    coalesce(primaries.guardrail_policies, supplements.guardrail_policies) AS guardrail_policies,
    coalesce(primaries.guardrail_categories, supplements.guardrail_categories) AS guardrail_categories,
    coalesce(primaries.guardrail_max_severity, supplements.guardrail_max_severity) AS guardrail_max_severity,
    coalesce(primaries.guardrail_findings, supplements.guardrail_findings) AS guardrail_findings,
    -- A list price without the share of the caches is too high; who knows it, is believed.
    CASE
        WHEN primaries.cache_read_input_tokens IS NULL AND supplements.cache_read_input_tokens IS NOT NULL
            AND primaries.cost_source = 'list'
            THEN coalesce(supplements.cost_usd, primaries.cost_usd)
        ELSE coalesce(primaries.cost_usd, supplements.cost_usd)
    END AS cost_usd,
    CASE
        WHEN primaries.cache_read_input_tokens IS NULL AND supplements.cache_read_input_tokens IS NOT NULL
            AND primaries.cost_source = 'list'
            THEN coalesce(supplements.cost_source, primaries.cost_source)
        ELSE coalesce(primaries.cost_source, supplements.cost_source)
    END AS cost_source,
    coalesce(primaries.prediction_class, supplements.prediction_class) AS prediction_class,
    coalesce(primaries.prediction_confidence, supplements.prediction_confidence) AS prediction_confidence,
    coalesce(primaries.prediction_entropy, supplements.prediction_entropy) AS prediction_entropy,
    coalesce(primaries.input_oov_rate, supplements.input_oov_rate) AS input_oov_rate,
    coalesce(primaries.tags, supplements.tags) AS tags,
    coalesce(nullif(primaries.content_state, 'absent'), supplements.content_state, 'absent') AS content_state,
    coalesce(primaries.input_uri, supplements.input_uri) AS input_uri,
    coalesce(primaries.output_uri, supplements.output_uri) AS output_uri,
    coalesce(primaries.input_sha256, supplements.input_sha256) AS input_sha256,
    coalesce(primaries.output_sha256, supplements.output_sha256) AS output_sha256,
    coalesce(primaries.input_entropy, supplements.input_entropy) AS input_entropy,
    coalesce(primaries.input_sketch, supplements.input_sketch) AS input_sketch,
    coalesce(primaries.injection_score, supplements.injection_score) AS injection_score,
    coalesce(primaries.injection_signatures, supplements.injection_signatures) AS injection_signatures,
    coalesce(primaries.injection_categories, supplements.injection_categories) AS injection_categories,
    coalesce(primaries.injection_findings, supplements.injection_findings) AS injection_findings,
    coalesce(primaries.hidden_character_count, supplements.hidden_character_count) AS hidden_character_count,
    coalesce(primaries.input_pii_kinds, supplements.input_pii_kinds) AS input_pii_kinds,
    coalesce(primaries.input_pii_count, supplements.input_pii_count) AS input_pii_count,
    coalesce(primaries.output_pii_kinds, supplements.output_pii_kinds) AS output_pii_kinds,
    coalesce(primaries.output_pii_count, supplements.output_pii_count) AS output_pii_count,
    coalesce(primaries.attributes, supplements.attributes) AS attributes,
    coalesce(primaries.parse_warnings, supplements.parse_warnings) AS parse_warnings,
    coalesce(primaries.hour, supplements.hour) AS hour,
    coalesce(supplements.records, 0) AS supplement_count,
    supplements.ids AS supplement_ids,
    CASE
        WHEN primaries.event_id IS NULL OR supplements.records IS NULL THEN NULL
        WHEN primaries.source_format = 'gcp.vertex.request_response' THEN 'heuristic'
        ELSE 'exact'
    END AS match,
    -- From the first of the records to the last, rounded up.
    CAST(ceil((
        date_part('epoch', greatest(primaries.event_time, supplements.last_event_time))
        - date_part('epoch', least(primaries.event_time, supplements.event_time))
    ) * 1000) AS BIGINT) AS record_span_ms
FROM primaries
FULL JOIN supplements ON primaries.identity = supplements.identity
WHERE primaries.event_id IS NOT NULL OR supplements.is_call;
