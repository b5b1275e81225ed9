//! Ordinary traffic: who calls which model when, how long it takes and how much is said.

use rand::Rng;
use rand::distr::Distribution as _;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;

use super::{MINUTE, Plan, Platform, text};

/// A call in the making, before any format.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) platform: Platform,
    /// Microseconds since the epoch.
    pub(super) time: i64,
    pub(super) caller: String,
    pub(super) model: String,
    pub(super) deployment: String,
    pub(super) source_ip: String,
    pub(super) prompt: String,
    pub(super) answer: String,
    pub(super) input_tokens: i64,
    pub(super) output_tokens: i64,
    pub(super) duration_ms: f64,
    pub(super) outcome: Outcome,
    /// Unique within a run.
    pub(super) id: u128,
    /// What a classifier said: class and confidence.
    pub(super) prediction: Option<(&'static str, f64)>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    /// Stopped by a guardrail.
    Blocked,
    /// Too many requests.
    Throttled,
    /// The server's fault.
    Failed,
}

/// Classes of the spam filter that generic records come from, with their usual shares.
pub(super) const CLASSES: [(&str, f64); 4] = [
    ("ham", 0.70),
    ("newsletter", 0.15),
    ("spam", 0.12),
    ("phishing", 0.03),
];

const BEDROCK: [&str; 4] = [
    "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "anthropic.claude-3-haiku-20240307-v1:0",
    "amazon.nova-pro-v1:0",
    "meta.llama3-1-70b-instruct-v1:0",
];
const OTHERS: [&str; 4] = [
    "gpt-4o",
    "gpt-4o-mini",
    "gemini-2.5-flash",
    "gemini-2.5-pro",
];
const CLASSIFIERS: [&str; 2] = ["spam-filter-v3", "spam-filter-v2"];

/// What does not change from minute to minute.
#[derive(Debug)]
pub(super) struct Traffic {
    callers: Vec<Caller>,
    weights: WeightedIndex<f64>,
    /// Calls due by the end of each minute.
    due: Vec<u64>,
    seed: u64,
}

#[derive(Debug)]
struct Caller {
    platform: Platform,
    name: String,
    models: Vec<String>,
    source_ip: String,
    /// Typical length of a request in tokens.
    tokens: f64,
}

impl Traffic {
    pub(super) fn new(plan: &Plan, random: &mut StdRng) -> Self {
        let callers: Vec<Caller> = (0..plan.callers)
            .map(|index| {
                let platform = plan.platforms[index % plan.platforms.len()];
                // Two models each, neighbours in the list, so that every model has callers of every size.
                let models = (0..2)
                    .map(|next| {
                        model(
                            platform,
                            (index / plan.platforms.len() + next) % plan.models,
                        )
                    })
                    .collect();
                Caller {
                    platform,
                    name: name(platform, index),
                    models,
                    source_ip: format!(
                        "10.{}.{}.{}",
                        index / 62_500 % 250,
                        index / 250 % 250,
                        index % 250 + 1
                    ),
                    tokens: random.random_range(60.0..900.0),
                }
            })
            .collect();
        // Few callers make most of the calls.
        let weights =
            WeightedIndex::new((0..plan.callers).map(|rank| 1.0 / (rank as f64 + 4.0).powf(0.8)))
                .expect("weights are positive");
        let minutes = plan.hours * 60;
        let mut shares: Vec<f64> = (0..minutes)
            .map(|minute| intensity(plan.start + minute as i64 * MINUTE))
            .collect();
        let total: f64 = shares.iter().sum();
        let mut sum = 0.0;
        for share in &mut shares {
            sum += *share / total;
            *share = sum;
        }
        let due = shares
            .into_iter()
            .map(|share| (share * plan.rows as f64).round() as u64)
            .collect();
        Traffic {
            callers,
            weights,
            due,
            seed: plan.seed,
        }
    }

    /// The calls of a minute, in no order.
    pub(super) fn minute(
        &self,
        minute: u64,
        start: i64,
        random: &mut StdRng,
        calls: &mut Vec<Call>,
    ) {
        let before = if minute == 0 {
            0
        } else {
            self.due[minute as usize - 1]
        };
        for _ in before..self.due[minute as usize] {
            let index = self.weights.sample(random);
            let time = start + random.random_range(0..MINUTE);
            calls.push(self.ordinary(index, time, random));
        }
    }

    /// An ordinary call of some caller of a platform, to be changed into something else; the first caller when the
    /// platform has none.
    pub(super) fn on(&self, platform: Platform, time: i64, random: &mut StdRng) -> Call {
        let index = self
            .callers
            .iter()
            .position(|caller| caller.platform == platform);
        let mut call = self.ordinary(index.unwrap_or(0), time, random);
        if index.is_none() {
            call.platform = platform;
            call.model = model(platform, 0);
        }
        call
    }

    fn ordinary(&self, index: usize, time: i64, random: &mut StdRng) -> Call {
        let caller = &self.callers[index];
        let model = caller.models[usize::from(random.random_bool(0.25))].clone();
        let input_tokens = (caller.tokens * log_normal(random, 0.5)).ceil() as i64;
        let output_tokens = (120.0 * log_normal(random, 0.7)).ceil().min(3_500.0) as i64;
        let outcome = match random.random_range(0..1_000) {
            0..4 => Outcome::Throttled,
            4..7 => Outcome::Failed,
            7 => Outcome::Blocked,
            _ => Outcome::Success,
        };
        let prediction = (caller.platform == Platform::Generic).then(|| predict(random, &CLASSES));
        Call {
            platform: caller.platform,
            time,
            caller: caller.name.clone(),
            deployment: format!("{model}-prod"),
            model,
            source_ip: caller.source_ip.clone(),
            prompt: text::request(random),
            answer: text::answer(output_tokens, random),
            input_tokens,
            output_tokens,
            duration_ms: (150.0 + 4.0 * output_tokens as f64) * log_normal(random, 0.2),
            outcome,
            // Times collide, and so may draws; together with the seed they do not within a run of this size.
            id: (u128::from(self.seed) << 96)
                ^ ((time as u128) << 40)
                ^ u128::from(random.random::<u64>() >> 20),
            prediction,
        }
    }
}

/// A class by its share, and how sure the classifier was.
pub(super) fn predict(random: &mut StdRng, classes: &[(&'static str, f64)]) -> (&'static str, f64) {
    let mut left: f64 = random.random();
    for (class, share) in classes {
        left -= share;
        if left < 0.0 {
            return (class, random.random_range(0.75..0.999));
        }
    }
    (classes[0].0, random.random_range(0.75..0.999))
}

/// How busy an instant is: low at night, highest in the early afternoon.
fn intensity(time: i64) -> f64 {
    let hour =
        (time / (60 * MINUTE)).rem_euclid(24) as f64 + (time / MINUTE).rem_euclid(60) as f64 / 60.0;
    let day = ((hour - 14.0) / 24.0 * std::f64::consts::TAU).cos();
    0.3 + 0.7 * ((day + 1.0) / 2.0).powi(2)
}

/// A factor around one, with that spread on the scale of logarithms.
fn log_normal(random: &mut StdRng, spread: f64) -> f64 {
    // Box and Muller's method; both draws are away from the logarithm's pole.
    let (a, b): (f64, f64) = (random.random_range(1e-12..1.0), random.random());
    (spread * (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()).exp()
}

fn model(platform: Platform, index: usize) -> String {
    let list: &[&str] = match platform {
        Platform::Bedrock => &BEDROCK,
        Platform::Azure => &OTHERS[..2],
        Platform::Vertex => &OTHERS[2..],
        Platform::Otlp | Platform::Litellm => &OTHERS,
        Platform::Generic => &CLASSIFIERS,
    };
    match list.get(index) {
        Some(known) => (*known).to_owned(),
        None => format!("custom-model-{index:03}"),
    }
}

fn name(platform: Platform, index: usize) -> String {
    match platform {
        Platform::Bedrock => {
            format!("arn:aws:sts::210987654321:assumed-role/App{index:05}/i-{index:08x}")
        }
        Platform::Azure => format!("{index:08x}-0000-4000-8000-00000000{:04x}", index % 65_536),
        Platform::Vertex => format!("svc-{index:05}@demo-ai.iam.gserviceaccount.com"),
        Platform::Otlp => format!("user-{index:05}"),
        Platform::Litellm => format!("key-user-{index:05}"),
        Platform::Generic => format!("mail-gateway-{index:05}"),
    }
}
