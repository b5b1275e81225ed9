//! The tables, column by column.

use super::cell::{
    Bool, Float, Hash, Int, Int32, LargeText, List, Required, Sketch, Tags, Text, Texts, Time,
    element, table,
};

element! {
    /// One finding of a guardrail or content filter inside a call; never the matched text.
    GuardrailFinding, GuardrailFindings {
        /// `input` or `output`.
        direction: Text,
        /// `content`, `topic`, `word`, `pii`, `grounding`, `reasoning`, `custom`.
        policy: Text,
        /// `VIOLENCE`, `PROMPT_ATTACK`, `hate`, `jailbreak`, a topic's name, a kind of personal data.
        category: Text,
        /// `blocked`, `masked`, `detected`, `none`.
        action: Text,
        /// `none`, `low`, `medium`, `high`: the vendor's confidence, severity or probability.
        confidence: Text,
        /// The vendor's number, where it has one.
        score: Float,
    }
}

element! {
    /// One injection signature that hit: which, where and in whose words; never the words.
    InjectionFinding, InjectionFindings {
        /// The signature's id.
        signature: Text,
        /// Its technique family.
        category: Text,
        /// `input` or `output`.
        direction: Text,
        /// `system`, `user`, `assistant`, `tool`.
        role: Text,
        /// Which part of the request or response, as in `content.seq`.
        seq: Int32,
        /// First byte of the hit in that part.
        start: Int,
        /// Byte after its last.
        end: Int,
        /// How the text was read: `plain`, `normalized`, or what was decoded.
        via: Text,
    }
}

table! {
    /// One model invocation, metadata only.
    Call, CallBuilder {
        /// When the call began, where that is known
        event_time: Required<Time>,
        /// When the platform logged it
        log_time: Time,
        /// Stable identity of the record: the vendor's where that is globally unique, else a hash of the record
        event_id: Required<Text>,
        /// Which log it was read from, as `aws.bedrock.invocation`
        source_format: Required<Text>,
        /// `primary`, or `supplement` to the same call in another log
        record_role: Required<Text>,
        /// The file it was read from
        source_file: Text,
        /// First byte of the record in that file, after decompression
        source_offset: Int,
        /// Provider in OpenTelemetry's words, as `aws.bedrock`
        provider: Text,
        /// `chat`, `text_completion`, `generate_content`, `embeddings`, `count_tokens`, `execute_tool`, `invoke_agent`, `other`
        operation: Text,
        /// The vendor's name of the operation
        operation_raw: Text,
        /// Requested model, cleaned: the last part of an ARN or resource path
        model: Text,
        /// Model without geographic prefix and version suffix
        model_family: Text,
        /// Model that answered
        response_model: Text,
        /// Model as logged
        model_id_raw: Text,
        /// Deployment or endpoint that served it
        model_deployment: Text,
        /// The vendor's id of the request
        request_id: Text,
        /// Id that joins several logs of one call
        correlation_id: Text,
        /// The vendor's id of the response
        response_id: Text,
        /// Trace, lower-case hex for OpenTelemetry
        trace_id: Text,
        /// Span, lower-case hex for OpenTelemetry
        span_id: Text,
        /// Conversation, thread or session
        conversation_id: Text,
        /// `aws`, `azure`, `gcp`
        cloud_provider: Text,
        /// AWS account, Azure subscription, Google Cloud project
        cloud_account_id: Text,
        /// Region that was called
        cloud_region: Text,
        /// Region that did the work
        inference_region: Text,
        /// Resource as the cloud names it
        cloud_resource_id: Text,
        /// The principal, exactly as logged
        caller: Text,
        /// `iam_user`, `assumed_role`, `root`, `federated`, `service_account`, `user`, `managed_identity`, `api_key`, `service`, `unknown`
        user_type: Text,
        /// User or role name parsed from the principal
        user_name: Text,
        /// E-mail of the principal
        user_email: Text,
        /// Session of an assumed role
        user_session: Text,
        /// Access key id, virtual key hash, service account key name: never the secret
        credential_id: Text,
        /// The person behind an application's principal, as the application says
        end_user_id: Text,
        /// Team of the key or user
        team: Text,
        /// Service that made the call
        service_name: Text,
        /// Address as logged
        source_ip: Text,
        /// Whether that is one plain address
        source_ip_valid: Bool,
        /// Its /24 or /48
        source_ip_prefix: Text,
        /// Client software, as it says
        user_agent: Text,
        /// Host that served the call
        server_address: Text,
        /// `success`, `blocked`, `failure`, `unknown`
        outcome: Required<Text>,
        /// HTTP status
        http_status_code: Int32,
        /// The vendor's error code or class
        error_type: Text,
        /// Why the model stopped, as logged
        finish_reasons: Texts,
        /// Whether the response was streamed
        request_stream: Bool,
        /// Whether a gateway answered from its cache
        cache_hit: Bool,
        /// Duration in milliseconds, never negative
        duration_ms: Float,
        /// Time to the first chunk of a stream in milliseconds
        time_to_first_chunk_ms: Float,
        /// Input tokens: uncached, cache reads and cache writes together
        input_tokens: Int,
        /// Input tokens that no cache served
        input_tokens_uncached: Int,
        /// Input tokens read from a cache
        cache_read_input_tokens: Int,
        /// Input tokens written to a cache
        cache_write_input_tokens: Int,
        /// Output tokens, reasoning included
        output_tokens: Int,
        /// Output tokens spent on reasoning
        reasoning_output_tokens: Int,
        /// Input and output tokens
        total_tokens: Int,
        /// `reported`, `derived`, `estimated`, `absent`
        tokens_source: Text,
        /// Bytes of the request
        request_bytes: Int,
        /// Bytes of the response
        response_bytes: Int,
        /// Characters of all input text
        input_text_length: Int,
        /// Characters of all output text
        output_text_length: Int,
        /// Messages in the request
        message_count: Int32,
        /// Whether a system prompt was sent
        system_prompt_present: Bool,
        /// Tools offered to the model
        tool_definition_count: Int32,
        /// Tools the model asked for
        tool_call_count: Int32,
        /// Their names; arguments are content
        tool_names: Texts,
        /// Images, documents and audio attached
        media_count: Int32,
        /// Sampling temperature
        temperature: Float,
        /// Nucleus sampling
        top_p: Float,
        /// Most tokens the model may write
        max_tokens: Int,
        /// Guardrails that ran
        guardrail_ids: Texts,
        /// `blocked`, `masked`, `detected`, `none`; null when no guardrail ran
        guardrail_action: Text,
        /// Policies that found something: `content`, `topic`, `word`, `pii`, `grounding`, `reasoning`, `custom`
        guardrail_policies: Texts,
        /// Categories that were found
        guardrail_categories: Texts,
        /// `none`, `low`, `medium`, `high`
        guardrail_max_severity: Text,
        /// What the guardrails found, one by one
        guardrail_findings: List<GuardrailFindings>,
        /// Cost in US dollars, as reported or from the price list
        cost_usd: Float,
        /// Where that comes from: `reported` by the log, or the price `list`
        cost_source: Text,
        /// Class that a classifier predicted
        prediction_class: Text,
        /// Its confidence, 0 to 1
        prediction_confidence: Float,
        /// Entropy of its distribution
        prediction_entropy: Float,
        /// Share of input tokens outside the vocabulary
        input_oov_rate: Float,
        /// Labels the caller supplied: not to be trusted
        tags: Tags,
        /// `inline`, `external`, `truncated`, `redacted`, `absent`, `not_ingested`
        content_state: Text,
        /// Where an offloaded request body lies
        input_uri: Text,
        /// Where an offloaded response body lies
        output_uri: Text,
        /// Keyed hash (HMAC-SHA-256) of the input text
        input_sha256: Hash,
        /// Keyed hash (HMAC-SHA-256) of the output text
        output_sha256: Hash,
        /// Shannon entropy of the input text, bits per character
        input_entropy: Float,
        /// Near-duplicate sketch of the input text, for `sketch_similarity`
        input_sketch: Sketch,
        /// Strongest injection score over the parts of this call, 0 to 1
        injection_score: Float,
        /// Injection signatures that hit, by id
        injection_signatures: Texts,
        /// Technique families of those signatures
        injection_categories: Texts,
        /// The hits one by one: which, where, in which role
        injection_findings: List<InjectionFindings>,
        /// Tag characters, zero-width runs and bidirectional controls in the input
        hidden_character_count: Int32,
        /// Kinds of personal data and secrets in the input
        input_pii_kinds: Texts,
        /// How many of them
        input_pii_count: Int32,
        /// Kinds of personal data and secrets in the output
        output_pii_kinds: Texts,
        /// How many of them
        output_pii_count: Int32,
        /// Everything that was logged and has no column, as JSON; never content
        attributes: Text,
        /// What was odd about the record
        parse_warnings: Texts,
        /// The UTC hour of `event_time`, as `2026-11-20T10`
        hour: Required<Text>,
    }
}

table! {
    /// One part of a prompt or response (restricted).
    Content, ContentBuilder {
        /// When the call began
        event_time: Required<Time>,
        /// The call it belongs to
        event_id: Required<Text>,
        /// Who made the call
        caller: Text,
        /// Requested model
        model: Text,
        /// Which log it was read from
        source_format: Required<Text>,
        /// The file it was read from
        source_file: Text,
        /// First byte of the record in that file
        source_offset: Int,
        /// `input`, `output`, `withheld`, `guardrail_match`, `error`
        direction: Required<Text>,
        /// Position among the parts of the call
        seq: Required<Int32>,
        /// `system`, `user`, `assistant`, `tool`
        role: Text,
        /// `text`, `tool_call`, `tool_result`, `reasoning`, `media`, `raw`
        part_type: Required<Text>,
        /// Repeated from an earlier turn of the conversation
        is_history: Required<Bool>,
        /// The text
        text: LargeText,
        /// Tool that was called or answered
        tool_name: Text,
        /// Joins a tool's call and its result
        tool_call_id: Text,
        /// Arguments as JSON
        tool_arguments: LargeText,
        /// Kind of an attachment
        mime_type: Text,
        /// Where an attachment lies
        uri: Text,
        /// Characters of the text, before redaction
        text_length: Int,
        /// Whether the log had cut the text
        truncated: Required<Bool>,
        /// Kinds that were redacted
        redacted_kinds: Texts,
        /// The UTC hour of `event_time`
        hour: Required<Text>,
    }
}

table! {
    /// One guardrail or content-filter finding.
    Filter, FilterBuilder {
        /// When the call began
        event_time: Required<Time>,
        /// The call it belongs to
        event_id: Required<Text>,
        /// Who made the call
        caller: Text,
        /// Requested model
        model: Text,
        /// Which log it was read from
        source_format: Required<Text>,
        /// The file it was read from
        source_file: Text,
        /// First byte of the record in that file
        source_offset: Int,
        /// `input` or `output`
        direction: Text,
        /// `content`, `topic`, `word`, `pii`, `grounding`, `reasoning`, `custom`
        policy: Text,
        /// `VIOLENCE`, `PROMPT_ATTACK`, `hate`, `jailbreak`, a topic's name, a kind of personal data
        category: Text,
        /// `blocked`, `masked`, `detected`, `none`
        action: Text,
        /// `none`, `low`, `medium`, `high`
        confidence: Text,
        /// The vendor's number, where it has one
        score: Float,
        /// The UTC hour of `event_time`
        hour: Required<Text>,
    }
}

table! {
    /// One management event.
    Audit, AuditBuilder {
        /// When it happened
        event_time: Required<Time>,
        /// When the platform logged it
        log_time: Time,
        /// Stable identity of the record
        event_id: Required<Text>,
        /// Which log it was read from
        source_format: Required<Text>,
        /// The file it was read from
        source_file: Text,
        /// First byte of the record in that file
        source_offset: Int,
        /// Provider in OpenTelemetry's words
        provider: Text,
        /// `aws`, `azure`, `gcp`
        cloud_provider: Text,
        /// AWS account, Azure subscription, Google Cloud project
        cloud_account_id: Text,
        /// Region
        cloud_region: Text,
        /// Service that was asked
        service: Text,
        /// The vendor's name of the operation
        action: Text,
        /// One class for three clouds, as `guardrail.delete`
        action_class: Required<Text>,
        /// Kind of the resource
        resource_type: Text,
        /// The resource
        resource_id: Text,
        /// `success`, `blocked`, `failure`, `unknown`
        outcome: Required<Text>,
        /// The vendor's error code or class
        error_type: Text,
        /// HTTP status
        http_status_code: Int32,
        /// Whether it only read
        read_only: Bool,
        /// The vendor's category of the event
        event_category: Text,
        /// The principal, exactly as logged
        caller: Text,
        /// As in `calls`
        user_type: Text,
        /// User or role name parsed from the principal
        user_name: Text,
        /// E-mail of the principal
        user_email: Text,
        /// Session of an assumed role
        user_session: Text,
        /// Access key id, virtual key hash, service account key name
        credential_id: Text,
        /// Whether a second factor was used
        mfa: Bool,
        /// Whether an API key made the call
        api_key_call: Bool,
        /// Address as logged
        source_ip: Text,
        /// Whether that is one plain address
        source_ip_valid: Bool,
        /// Its /24 or /48
        source_ip_prefix: Text,
        /// Client software, as it says
        user_agent: Text,
        /// The vendor's id of the request
        request_id: Text,
        /// Id that joins several records of one operation
        correlation_id: Text,
        /// Parameters as JSON
        request_params: Text,
        /// Answer as JSON
        response: Text,
        /// Everything that was logged and has no column, as JSON
        attributes: Text,
        /// What was odd about the record
        parse_warnings: Texts,
        /// The UTC hour of `event_time`
        hour: Required<Text>,
    }
}

table! {
    /// One line that could not be read.
    Quarantine, QuarantineBuilder {
        /// When the ingest met it
        ingest_time: Required<Time>,
        /// The file
        source_file: Required<Text>,
        /// First byte of the line in that file, after decompression
        source_offset: Required<Int>,
        /// The format it seemed to be
        format: Text,
        /// Why it could not be read
        reason: Required<Text>,
        /// The line: cut, escaped, redacted
        line: Text,
    }
}

table! {
    /// Something that happened to a finding: each has one row for every one of its revisions.
    Finding, FindingBuilder {
        /// Stays the same for as long as the finding is told of
        finding_id: Required<Text>,
        /// Counts what happened to it, from 1
        revision: Required<Int>,
        /// `opened`, `updated`, `revised`, `retracted`, `resolved`
        event: Required<Text>,
        /// How it stands after that: `open`, `resolved`, `retracted`
        status: Required<Text>,
        /// The rule
        rule_id: Required<Text>,
        /// Its version
        rule_version: Required<Int>,
        /// Title of its worst window
        title: Required<Text>,
        /// `info`, `low`, `medium`, `high`, `critical`: the worst of its windows
        severity: Required<Text>,
        /// `low`, `medium`, `high`
        confidence: Text,
        /// First instant of its first window
        window_start: Required<Time>,
        /// Instant after its last window that fired
        window_end: Required<Time>,
        /// Instant after its first window
        first_window_end: Required<Time>,
        /// Windows that fired
        windows: Required<Int>,
        /// The entity's columns, as JSON
        entity: Text,
        /// Most contributing events of any window, where the rule counts them
        event_count: Int,
        /// First of them in any window
        first_seen: Time,
        /// Last of them in any window
        last_seen: Time,
        /// Highest number to sort by, where the rule gives one
        score: Float,
        /// What the window with the most events returned, as JSON
        evidence: Text,
        /// Whether nobody is told: a signal, or the same subject was told of before
        suppressed: Required<Bool>,
        /// Findings of the same subject that nobody was told of since the last one that was
        folded: Required<Int>,
        /// The exception by which nobody is told
        excepted: Text,
        /// Points for the account of the subject
        risk: Float,
        /// The subject of that account
        risk_object: Text,
        /// ATLAS techniques
        atlas: Texts,
        /// OWASP entries
        owasp: Texts,
        /// When the evaluation ran
        evaluated_at: Required<Time>,
    }
}

table! {
    /// One window of one rule that was evaluated, and how it ended. What was evaluated again has a row for every time
    /// that it ended otherwise.
    Evaluation, EvaluationBuilder {
        /// The rule
        rule_id: Required<Text>,
        /// Its version
        rule_version: Required<Int>,
        /// First instant of the window; of a gap, of its first window
        window_start: Required<Time>,
        /// Instant after its last; of a gap, of its last window
        window_end: Required<Time>,
        /// Counts the rows of the window, from 1; the last one holds
        revision: Required<Int>,
        /// Counts the runs of the rule that stored something; a gap is filled by windows of a later one
        run: Required<Int>,
        /// `fired`, `clear`, `learning`, `not_covered`, `frozen`, `gap`, `error`
        state: Required<Text>,
        /// Findings it gave
        findings: Required<Int>,
        /// What went wrong, or why nothing could be said
        detail: Text,
        /// The rows that the rule returned, as JSON
        returned: Text,
        /// Rows that came too late to be looked at
        late_dropped: Int,
        /// Parameters it ran with, as JSON
        params: Text,
        /// Version of the table it read; of the first, where there are several
        store_version: Int,
        /// Whether rows of its time were still expected
        is_early: Required<Bool>,
        /// How long it took, in milliseconds
        elapsed_ms: Float,
        /// When it ran
        evaluated_at: Required<Time>,
    }
}

table! {
    /// The calls of one caller to one model in one hour, summed up: what is left when the calls themselves have gone.
    Usage, UsageBuilder {
        /// First instant of the hour
        event_time: Required<Time>,
        /// The principal
        caller: Text,
        /// Requested model
        model: Text,
        /// Provider in OpenTelemetry's words
        provider: Text,
        /// Calls
        calls: Required<Int>,
        /// Calls that failed
        failures: Required<Int>,
        /// Calls that a guardrail or filter blocked
        blocked: Required<Int>,
        /// Input tokens
        input_tokens: Int,
        /// Output tokens
        output_tokens: Int,
        /// Input and output tokens
        total_tokens: Int,
        /// Cost in US dollars
        cost_usd: Float,
        /// Calls whose duration is known
        timed: Required<Int>,
        /// Sum of their durations in milliseconds
        duration_ms_sum: Float,
        /// The longest
        duration_ms_max: Float,
        /// Calls that took 100 ms at most
        under_100ms: Required<Int>,
        /// Calls that took 300 ms at most
        under_300ms: Required<Int>,
        /// Calls that took a second at most
        under_1s: Required<Int>,
        /// Calls that took 3 s at most
        under_3s: Required<Int>,
        /// Calls that took 10 s at most
        under_10s: Required<Int>,
        /// Calls that took 30 s at most
        under_30s: Required<Int>,
        /// Calls in which an injection signature hit
        injection_hits: Required<Int>,
        /// The UTC hour, as `2026-11-20T10`
        hour: Required<Text>,
    }
}
