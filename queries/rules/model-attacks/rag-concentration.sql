-- /// rule
-- id          = "rag-concentration"
-- title       = "A new document is in the answer to nearly everything"
-- version     = 2
-- status      = "stable"
-- severity    = "high"
-- confidence  = "medium"
-- source      = ["calls"]
-- requires    = ["operation_raw"]
-- window      = "1h"
-- every       = "15m"
-- baseline    = "7d"
-- min_history = 20
-- entity      = ["data_source", "document_id"]
-- atlas       = ["AML.T0070", "AML.T0071"]
-- owasp       = ["LLM08:2025"]
-- description = """
-- A document that was written to be found comes up for every question. Counts, for each data source, the share of
-- retrievals that returned a document, and fires on one that no retrieval of the week before returned. Reads the
-- retriever spans of OpenTelemetry with OpenInference's names, which carry the ids of the documents; the first ten of a
-- retrieval are looked at. A data source is what the span names as such, else the service. With fewer than twenty
-- retrievals of it in the week before, every document would be new: learning."""
-- false_positives = ["A new document about what everybody asks today", "An index that was built anew with other ids"]
-- evasion     = ["Changing a document that is found often already", "Many documents that share the work", "Retrievers that log no ids"]
-- runbook     = "Take the document out of the index, find out who put it there (rag-source-changed), and read it as an attack: then list the answers that used it"
--
-- [params]
-- min_share = { default = 0.3, min = 0.0, max = 1.0, doc = "share of the retrievals of a data source that return the document" }
-- min_retrievals = { default = 50, min = 5, doc = "retrievals of a data source in the hour" }
-- ///
WITH records AS (
    -- In a CASE, so that no other record is parsed: the optimiser may move parsing below the filter.
    SELECT
        event_id,
        event_time,
        service_name,
        cloud_account_id,
        CASE WHEN lower(operation_raw) IN ('retriever', 'retrieval') THEN attributes END AS record
    FROM calls
    WHERE event_time >= $window_start AND event_time < $window_end
        AND lower(operation_raw) IN ('retriever', 'retrieval')
),

retrievals AS (
    SELECT
        event_id,
        event_time,
        cloud_account_id,
        coalesce(json_get_str(record, 'attributes', 'gen_ai.data_source.id'), service_name, '(unknown)') AS data_source,
        make_array(
            json_as_text(record, 'attributes', 'retrieval.documents.0.document.id'),
            json_as_text(record, 'attributes', 'retrieval.documents.1.document.id'),
            json_as_text(record, 'attributes', 'retrieval.documents.2.document.id'),
            json_as_text(record, 'attributes', 'retrieval.documents.3.document.id'),
            json_as_text(record, 'attributes', 'retrieval.documents.4.document.id'),
            json_as_text(record, 'attributes', 'retrieval.documents.5.document.id'),
            json_as_text(record, 'attributes', 'retrieval.documents.6.document.id'),
            json_as_text(record, 'attributes', 'retrieval.documents.7.document.id'),
            json_as_text(record, 'attributes', 'retrieval.documents.8.document.id'),
            json_as_text(record, 'attributes', 'retrieval.documents.9.document.id')
        ) AS documents
    FROM records
    WHERE json_as_text(record, 'attributes', 'retrieval.documents.0.document.id') IS NOT NULL
),

totals AS (
    SELECT
        data_source,
        count(*) AS retrievals
    FROM retrievals
    GROUP BY data_source
    HAVING count(*) >= $min_retrievals
),

returned AS (
    SELECT
        event_id,
        event_time,
        cloud_account_id,
        data_source,
        unnest(documents) AS document_id
    FROM retrievals
),

popular AS (
    SELECT
        returned.data_source,
        returned.document_id,
        count(DISTINCT returned.event_id) AS event_count,
        max(totals.retrievals) AS retrievals,
        max(returned.cloud_account_id) AS cloud_account_id,
        min(returned.event_time) AS first_seen,
        max(returned.event_time) AS last_seen
    FROM returned
    JOIN totals ON totals.data_source = returned.data_source
    WHERE returned.document_id IS NOT NULL
    GROUP BY returned.data_source, returned.document_id
    HAVING count(DISTINCT returned.event_id) > $min_share * max(totals.retrievals)
),

earlier_records AS (
    SELECT
        event_id,
        service_name,
        CASE WHEN lower(operation_raw) IN ('retriever', 'retrieval') THEN attributes END AS record
    FROM calls
    WHERE event_time >= $baseline_start AND event_time < $window_start
        AND lower(operation_raw) IN ('retriever', 'retrieval')
),

earlier AS (
    SELECT
        event_id,
        coalesce(json_get_str(record, 'attributes', 'gen_ai.data_source.id'), service_name, '(unknown)') AS data_source,
        make_array(
            json_as_text(record, 'attributes', 'retrieval.documents.0.document.id'),
            json_as_text(record, 'attributes', 'retrieval.documents.1.document.id'),
            json_as_text(record, 'attributes', 'retrieval.documents.2.document.id'),
            json_as_text(record, 'attributes', 'retrieval.documents.3.document.id'),
            json_as_text(record, 'attributes', 'retrieval.documents.4.document.id'),
            json_as_text(record, 'attributes', 'retrieval.documents.5.document.id'),
            json_as_text(record, 'attributes', 'retrieval.documents.6.document.id'),
            json_as_text(record, 'attributes', 'retrieval.documents.7.document.id'),
            json_as_text(record, 'attributes', 'retrieval.documents.8.document.id'),
            json_as_text(record, 'attributes', 'retrieval.documents.9.document.id')
        ) AS documents
    FROM earlier_records
    WHERE json_as_text(record, 'attributes', 'retrieval.documents.0.document.id') IS NOT NULL
),

history AS (
    SELECT
        data_source,
        count(*) AS history_count
    FROM earlier
    GROUP BY data_source
),

known AS (
    SELECT DISTINCT
        data_source,
        unnest(documents) AS document_id
    FROM earlier
)

SELECT
    popular.data_source,
    popular.document_id,
    popular.event_count,
    popular.retrievals,
    popular.cloud_account_id,
    popular.event_count * 1.0 / popular.retrievals AS score,
    coalesce(history.history_count, 0) AS history_count,
    popular.first_seen,
    popular.last_seen
FROM popular
LEFT JOIN history ON history.data_source = popular.data_source
WHERE NOT EXISTS (
    SELECT 1
    FROM known
    WHERE known.data_source = popular.data_source AND known.document_id = popular.document_id
);

-- /// test
-- name = "a document that nobody knew is in twenty of fifty retrievals"
-- at   = 2026-01-08T01:00:00Z
-- given.calls = [
--   { event_time = "-2d", record_role = "supplement", operation_raw = "RETRIEVER", service_name = "help-desk", attributes = '{"attributes":{"retrieval.documents.0.document.id":"faq-{i}","retrieval.documents.1.document.id":"terms"}}', repeat = 30, every = "1m" },
--   { event_time = "-50m", record_role = "supplement", operation_raw = "RETRIEVER", service_name = "help-desk", attributes = '{"attributes":{"retrieval.documents.0.document.id":"faq-{i}","retrieval.documents.1.document.id":"terms"}}', repeat = 30, every = "1m" },
--   { event_time = "-40m", record_role = "supplement", operation_raw = "RETRIEVER", service_name = "help-desk", attributes = '{"attributes":{"retrieval.documents.0.document.id":"terms","retrieval.documents.1.document.id":"poison"}}', repeat = 20, every = "1m" },
-- ]
-- expect = [{ data_source = "help-desk", document_id = "poison", event_count = 20, retrievals = 50, score = 0.4, history_count = 30, first_seen = "-40m", last_seen = "-21m" }]
-- ///

-- /// test
-- name = "exactly three in ten, or 49 retrievals, are not enough"
-- at   = 2026-01-08T01:00:00Z
-- given.calls = [
--   { event_time = "-2d", record_role = "supplement", operation_raw = "RETRIEVER", service_name = "a", attributes = '{"attributes":{"retrieval.documents.0.document.id":"terms"}}', repeat = 30, every = "1m" },
--   { event_time = "-2d", record_role = "supplement", operation_raw = "RETRIEVER", service_name = "b", attributes = '{"attributes":{"retrieval.documents.0.document.id":"terms"}}', repeat = 30, every = "1m" },
--   { event_time = "-50m", record_role = "supplement", operation_raw = "RETRIEVER", service_name = "a", attributes = '{"attributes":{"retrieval.documents.0.document.id":"terms"}}', repeat = 35, every = "1m" },
--   { event_time = "-50m", record_role = "supplement", operation_raw = "RETRIEVER", service_name = "a", attributes = '{"attributes":{"retrieval.documents.0.document.id":"new"}}', repeat = 15, every = "1m" },
--   { event_time = "-50m", record_role = "supplement", operation_raw = "RETRIEVER", service_name = "b", attributes = '{"attributes":{"retrieval.documents.0.document.id":"new"}}', repeat = 49, every = "1m" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "a document that was always popular, and one that is new in another data source, look alike"
-- at   = 2026-01-08T01:00:00Z
-- given.calls = [
--   { event_time = "-2d", record_role = "supplement", operation_raw = "retrieval", service_name = "a", attributes = '{"attributes":{"gen_ai.data_source.id":"kb-1","retrieval.documents.0.document.id":"terms"}}', repeat = 30, every = "1m" },
--   { event_time = "-50m", record_role = "supplement", operation_raw = "retrieval", service_name = "a", attributes = '{"attributes":{"gen_ai.data_source.id":"kb-1","retrieval.documents.0.document.id":"terms"}}', repeat = 50, every = "1m" },
--   { event_time = "-50m", record_role = "supplement", operation_raw = "retrieval", service_name = "a", attributes = '{"attributes":{"gen_ai.data_source.id":"kb-2","retrieval.documents.0.document.id":"terms"}}', repeat = 10, every = "1m" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "a data source with nineteen retrievals before is being learnt"
-- at   = 2026-01-08T01:00:00Z
-- given.calls = [
--   { event_time = "-2d", record_role = "supplement", operation_raw = "RETRIEVER", service_name = "a", attributes = '{"attributes":{"retrieval.documents.0.document.id":"terms"}}', repeat = 19, every = "1m" },
--   { event_time = "-50m", record_role = "supplement", operation_raw = "RETRIEVER", service_name = "a", attributes = '{"attributes":{"retrieval.documents.0.document.id":"new"}}', repeat = 50, every = "1m" },
-- ]
-- expect = []
-- expect_state = "learning"
-- ///
