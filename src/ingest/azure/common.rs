//! The frame that all Azure logs share, under the names of storage, Event Hub and Log Analytics.

use crate::ingest::address;
use crate::ingest::body::open::open;
use crate::ingest::body::parts::{Turn, scrub_into};
use crate::ingest::json::Value;
use crate::ingest::record::{CallRow, Direction, PartType, Reject};
use crate::schema::{Call, Micros};

/// A call of an hour is one that nobody waited for; a day is no duration of a call.
pub(super) const LONGEST_MS: f64 = 86_400_000.0;

/// A record with its common fields read.
#[derive(Clone, Copy)]
pub(super) struct Frame<'a> {
    pub(super) record: Value<'a>,
    /// `properties`, where it could be read as an object.
    pub(super) properties: Option<Value<'a>>,
    /// When it was logged.
    pub(super) time: Micros,
    pub(super) category: &'a str,
    pub(super) operation: Option<&'a str>,
    pub(super) resource_id: Option<&'a str>,
    pub(super) subscription: Option<&'a str>,
    pub(super) correlation_id: Option<&'a str>,
}

impl<'a> Frame<'a> {
    pub(super) fn read(record: Value<'a>) -> Result<Frame<'a>, Reject> {
        let time = ["time", "TimeGenerated", "eventTimestamp"]
            .iter()
            .find_map(|key| record.time(key, "log_time"))
            .ok_or(Reject::Time)?;
        let resource_id = record.text_of(&["resourceId", "_ResourceId"], "cloud_resource_id");
        // The same resource once more, in another case.
        record.drop_field("_ResourceId");
        let operation = record.text_of(
            &["OperationNameValue", "operationName/value", "operationName"],
            "operation_raw",
        );
        let category = record.text_of(
            &["CategoryValue", "category/value", "category", "Type"],
            "source_format",
        );
        let properties = ["properties", "properties_s", "Properties_d"]
            .iter()
            .find_map(|key| record.get(key)?.object());
        let logged = record.text_of(&["SubscriptionId", "_SubscriptionId"], "cloud_account_id");
        let subscription = resource_id
            .and_then(|id| segment_after(id, "subscriptions"))
            .or(logged)
            .map(|id| lower(record, id));
        Ok(Frame {
            record,
            properties,
            time,
            category: category.unwrap_or_default(),
            operation,
            resource_id,
            subscription,
            correlation_id: record.text_of(&["correlationId", "CorrelationId"], "correlation_id"),
        })
    }

    /// The same record where its properties are no object but may hold texts of a call: cut, or in a list. They are read
    /// as far as they go; what else stands there comes with it. `None` when all is well.
    pub(super) fn repaired(&self) -> Option<(Frame<'a>, Vec<Value<'a>>)> {
        if self.properties.is_some() {
            return None;
        }
        let broken = ["properties", "properties_s"]
            .iter()
            .find_map(|key| self.record.get(key))?;
        let opened = open(broken);
        let mut values = opened.values.into_iter();
        let properties = values.next();
        let mut rest: Vec<_> = values.chain(opened.loose).collect();
        if properties.is_none() && rest.is_empty() {
            rest.push(broken);
        }
        for value in &rest {
            value.mark("content");
        }
        let frame = Frame {
            properties,
            ..*self
        };
        Some((frame, rest))
    }

    /// Takes what may be prose out of all properties but the `read` ones and makes it parts: a gateway's log has bodies,
    /// and newer ones may have them elsewhere.
    pub(super) fn scrub(&self, read: &[&str], row: &mut CallRow<'a>) {
        let turn = Turn::new(Direction::Input, None, 0);
        for (key, value) in self.properties.into_iter().flat_map(Value::entries) {
            if !read.iter().any(|known| known.eq_ignore_ascii_case(key)) {
                scrub_into(value.structure(), turn, PartType::Raw, row);
            }
        }
    }

    /// Whether this is an event of the activity log: its operations are named `Provider/type/verb`.
    pub(super) fn is_activity(&self) -> bool {
        self.operation
            .is_some_and(|operation| operation.matches('/').count() >= 2)
            || self.record.get("OperationNameValue").is_some()
    }

    /// Whether the resource belongs to one of the providers, given in lower case.
    pub(super) fn is_of(&self, provider: &str) -> bool {
        self.resource_id
            .and_then(|id| segment_after(id, "providers"))
            .is_some_and(|found| found.eq_ignore_ascii_case(provider))
    }

    /// The value of a property: in `properties`, beside it, or as a column of Log Analytics, which marks the type at
    /// the end of the name.
    pub(super) fn property(&self, name: &str) -> Option<Value<'a>> {
        if let Some(found) = self.properties.and_then(|properties| properties.get(name)) {
            return Some(found);
        }
        self.record.get(name).or_else(|| {
            ["_s", "_d", "_g", "_b"]
                .iter()
                .find_map(|suffix| self.record.get(&format!("{name}{suffix}")))
        })
    }

    /// Text of the first of these properties that has one.
    pub(super) fn text(&self, names: &[&str], column: &'static str) -> Option<&'a str> {
        names.iter().find_map(|name| {
            let found = self.property(name)?;
            if found.as_str() == Some("") {
                found.mark("-");
            }
            let text = found.as_text()?;
            found.mark(column);
            Some(text)
        })
    }

    /// Count at the first of these properties that has one.
    pub(super) fn count(&self, names: &[&str], column: &'static str) -> Option<i64> {
        names.iter().find_map(|name| {
            let found = self.property(name)?;
            let count = found.as_int().filter(|count| *count >= 0)?;
            found.mark(column);
            Some(count)
        })
    }

    /// Duration in milliseconds; one that cannot be stays in `attributes`.
    pub(super) fn duration(&self, names: &[&str]) -> Option<f64> {
        names.iter().find_map(|name| {
            let found = self.property(name)?;
            let duration = found
                .as_float()
                .filter(|ms| (0.0..=LONGEST_MS).contains(ms))?;
            found.mark("duration_ms");
            Some(duration)
        })
    }

    /// HTTP status, which many fields may hold.
    pub(super) fn status(&self, names: &[&str]) -> Option<i32> {
        names.iter().find_map(|name| {
            let found = self.property(name)?;
            let status = found
                .as_int()
                .filter(|status| (100..600).contains(status))?;
            found.mark("http_status_code");
            i32::try_from(status).ok()
        })
    }

    pub(super) fn address(&self) -> Option<address::Address<'a>> {
        address::read(
            self.record,
            &["callerIpAddress", "CallerIpAddress", "callerIpAddress_s"],
        )
        .or_else(|| address::read(self.properties?, &["callerIpAddress"]))
    }

    pub(super) fn region(&self) -> Option<&'a str> {
        // `Tenant` holds a region here.
        let region = self
            .record
            .text_of(&["location", "location_s", "Region"], "cloud_region");
        let tenant = self.record.text_of(&["Tenant", "Tenant_s"], "cloud_region");
        region.or(tenant)
    }

    /// A call with the columns that every Azure log fills.
    pub(super) fn call(&self, source_format: &'static str, role: &'static str) -> Call<'a> {
        let address = self.address();
        Call {
            event_time: self.time,
            source_format,
            record_role: role,
            provider: Some("azure.ai.openai"),
            operation_raw: self.operation,
            correlation_id: self.correlation_id,
            cloud_provider: Some("azure"),
            cloud_account_id: self.subscription,
            cloud_region: self.region(),
            cloud_resource_id: self.resource_id,
            source_ip: address.map(|address| address.text),
            source_ip_valid: address.map(|address| address.valid),
            source_ip_prefix: address.and_then(|address| address.prefix),
            ..Call::default()
        }
    }
}

/// The part of a resource id after the one of that name: the id of a subscription, the name of a provider.
pub(super) fn segment_after<'a>(id: &'a str, name: &str) -> Option<&'a str> {
    let mut parts = id.split('/');
    parts.find(|part| part.eq_ignore_ascii_case(name))?;
    parts.next().filter(|part| !part.is_empty())
}

/// A text in lower case: Azure compares names without case and writes them in any.
pub(super) fn lower<'a>(keeper: Value<'a>, text: &'a str) -> &'a str {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        keeper.keep(&text.to_ascii_lowercase())
    } else {
        text
    }
}

/// What an HTTP status means, where nothing better is known.
pub(super) fn outcome(status: Option<i32>) -> &'static str {
    match status {
        Some(100..400) => "success",
        Some(_) => "failure",
        None => "unknown",
    }
}
