//! Incidents to plant in a day of traffic, each with the rule that is meant to find it.

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::json;

use super::records::{self, ACCOUNT, REGION};
use super::traffic::{CLASSES, Outcome, Traffic, predict};
use super::writers::Writers;
use super::{MINUTE, Platform, text};
use crate::error::Result;

/// Something that happens once in a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Incident {
    /// Prompt after prompt that tries to take the model over.
    InjectionCampaign,
    /// A build server's key in strange hands, at night.
    LeakedKey,
    /// A classifier asked thousands of made-up texts.
    Extraction,
    /// A classifier that changes its mind about everybody's mail.
    Drift,
    /// A new release that is slow.
    CanaryRegression,
    /// A guardrail that is deleted.
    GuardrailOff,
    /// The same question about the system, over and over, a little different each time.
    Probing,
}

impl Incident {
    /// Every incident.
    pub const ALL: [Incident; 7] = [
        Incident::InjectionCampaign,
        Incident::LeakedKey,
        Incident::Extraction,
        Incident::Drift,
        Incident::CanaryRegression,
        Incident::GuardrailOff,
        Incident::Probing,
    ];

    /// What happens, for a person.
    pub fn title(self) -> &'static str {
        match self {
            Incident::InjectionCampaign => "injection campaign",
            Incident::LeakedKey => "leaked key burns tokens",
            Incident::Extraction => "model extraction",
            Incident::Drift => "prediction drift",
            Incident::CanaryRegression => "canary regression",
            Incident::GuardrailOff => "guardrail switched off",
            Incident::Probing => "low and slow probing",
        }
    }

    /// The rule that is meant to find it.
    pub fn rule(self) -> &'static str {
        match self {
            Incident::InjectionCampaign => "prompt-injection-hourly",
            Incident::LeakedKey => "token-burn",
            Incident::Extraction => "model-extraction",
            Incident::Drift => "prediction-drift-chi2",
            Incident::CanaryRegression => "canary-regression",
            Incident::GuardrailOff => "guardrail-weakened",
            Incident::Probing => "similarity-probing",
        }
    }

    /// A text that stands in the entity of the finding.
    pub fn entity(self) -> &'static str {
        match self {
            Incident::InjectionCampaign => "SupportBot/mallory",
            Incident::LeakedKey => "user/ci-deploy",
            Incident::Extraction => "mail-gateway-copycat",
            Incident::Drift | Incident::CanaryRegression => "spam-filter-v3",
            Incident::GuardrailOff => "Admin/dana",
            Incident::Probing => "key-user-prober",
        }
    }

    /// Minutes of the day in which it happens.
    pub fn minutes(self) -> std::ops::Range<i64> {
        match self {
            Incident::InjectionCampaign => 605..650,
            Incident::LeakedKey => 185..230,
            Incident::Extraction => 730..970,
            Incident::Drift => 1_060..1_100,
            Incident::CanaryRegression => 900..920,
            Incident::GuardrailOff => 1_203..1_204,
            Incident::Probing => 1_320..1_350,
        }
    }

    /// Adds what happens in the minute that begins at `now`.
    pub(super) fn minute(
        self,
        day: i64,
        now: i64,
        traffic: &Traffic,
        random: &mut StdRng,
        calls: &mut Vec<super::traffic::Call>,
        writers: &mut Writers,
    ) -> Result<()> {
        let minute = (now - day) / MINUTE;
        if !self.minutes().contains(&minute) {
            return Ok(());
        }
        let step = minute - self.minutes().start;
        let times = |count: i64, random: &mut StdRng| -> Vec<i64> {
            (0..count)
                .map(|_| now + random.random_range(0..MINUTE))
                .collect()
        };
        match self {
            Incident::InjectionCampaign => {
                if step % 2 == 0 {
                    let mut call = traffic.on(
                        Platform::Bedrock,
                        now + random.random_range(0..MINUTE),
                        random,
                    );
                    call.caller = format!("arn:aws:sts::{ACCOUNT}:assumed-role/SupportBot/mallory");
                    call.prompt = text::attack(step as usize / 2).to_owned();
                    call.outcome = if step % 3 == 0 {
                        Outcome::Blocked
                    } else {
                        Outcome::Success
                    };
                    calls.push(call);
                }
            }
            Incident::LeakedKey => {
                for time in times(3, random) {
                    let mut call = traffic.on(Platform::Bedrock, time, random);
                    call.caller = format!("arn:aws:iam::{ACCOUNT}:user/ci-deploy");
                    call.source_ip = "203.0.113.66".into();
                    (call.input_tokens, call.output_tokens) =
                        (9_000, 4_000 + random.random_range(50..90));
                    call.outcome = Outcome::Success;
                    calls.push(call);
                }
            }
            Incident::Extraction => {
                for time in times(6, random) {
                    let mut call = traffic.on(Platform::Generic, time, random);
                    call.caller = "mail-gateway-copycat".into();
                    call.prompt = text::novel(random);
                    call.prediction =
                        Some(predict(random, &CLASSES.map(|(class, _)| (class, 0.25))));
                    call.outcome = Outcome::Success;
                    calls.push(call);
                }
            }
            Incident::Drift => {
                // A busy evening as ever, and half-way through it the classifier takes newsletters for phishing.
                let shares = if step < 20 {
                    CLASSES
                } else {
                    [
                        ("ham", 0.55),
                        ("newsletter", 0.03),
                        ("spam", 0.12),
                        ("phishing", 0.30),
                    ]
                };
                for time in times(90, random) {
                    let mut call = traffic.on(Platform::Generic, time, random);
                    "spam-filter-v3".clone_into(&mut call.model);
                    "spam-filter-v3-prod".clone_into(&mut call.deployment);
                    call.prediction = Some(predict(random, &shares));
                    call.outcome = Outcome::Success;
                    calls.push(call);
                }
            }
            Incident::CanaryRegression => {
                for (index, time) in times(80, random).into_iter().enumerate() {
                    let canary = index % 2 == 0;
                    let mut call = traffic.on(Platform::Generic, time, random);
                    "spam-filter-v3".clone_into(&mut call.model);
                    call.deployment =
                        format!("spam-filter-v3-{}", if canary { "canary" } else { "prod" });
                    if canary && step >= 6 && index % 8 == 0 {
                        // A classifier's record has a twentieth of the duration.
                        call.duration_ms = 20.0 * random.random_range(700.0..1_500.0);
                    }
                    call.outcome = Outcome::Success;
                    calls.push(call);
                }
            }
            Incident::GuardrailOff => {
                let at = now + 11_000_000;
                writers.cloudtrail(at, delete_guardrail(at))?;
            }
            Incident::Probing => {
                for half in 0..2 {
                    let mut call = traffic.on(
                        Platform::Litellm,
                        now + half * 30_000_000 + random.random_range(0..5_000_000),
                        random,
                    );
                    call.caller = "key-user-prober".into();
                    call.prompt = text::probe((step * 2 + half) as usize);
                    call.outcome = Outcome::Success;
                    calls.push(call);
                }
            }
        }
        Ok(())
    }
}

fn delete_guardrail(at: i64) -> serde_json::Value {
    json!({
        "eventVersion": "1.10",
        "userIdentity": {
            "type": "AssumedRole", "principalId": "AROAEXAMPLE:dana", "accountId": ACCOUNT,
            "arn": format!("arn:aws:sts::{ACCOUNT}:assumed-role/Admin/dana"), "accessKeyId": "ASIAEXAMPLE0000001",
            "sessionContext": {"attributes": {"creationDate": records::stamp(at - 3_600_000_000, 19), "mfaAuthenticated": "false"},
                "sessionIssuer": {"type": "Role", "arn": format!("arn:aws:iam::{ACCOUNT}:role/Admin"), "userName": "Admin"}},
        },
        "eventTime": records::stamp(at, 19),
        "eventSource": "bedrock.amazonaws.com",
        "eventName": "DeleteGuardrail",
        "awsRegion": REGION,
        "sourceIPAddress": "198.51.100.20",
        "userAgent": "aws-cli/2.17",
        "requestParameters": {"guardrailIdentifier": "gr1"},
        "responseElements": null,
        "requestID": records::uuid(at as u128),
        "eventID": records::uuid(at as u128 + 1),
        "readOnly": false, "eventType": "AwsApiCall", "managementEvent": true,
        "recipientAccountId": ACCOUNT, "eventCategory": "Management",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incidents_fit_in_a_day_and_name_themselves_apart() {
        let mut rules: Vec<_> = Incident::ALL
            .iter()
            .map(|incident| incident.rule())
            .collect();
        rules.sort_unstable();
        rules.dedup();
        assert_eq!(rules.len(), Incident::ALL.len());
        assert!(
            Incident::ALL
                .iter()
                .all(|incident| incident.minutes().end <= 24 * 60)
        );
    }
}
