//! One pass of one sink: what is new goes into its outbox, what is due goes out.
//!
//! Sinks know nothing of each other: each has its outbox, its place in the history of findings, and its pauses, so that
//! a dead one keeps nobody waiting.

mod due;
mod taking;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::content::Withheld;
use super::failure::{Failure, Reason};
use super::finding::Told;
use super::kind::Message;
use super::outbox::{Item, Key, Outbox, State};
use super::settings::{Retry, Route, Sink};
use super::{Pass, Shared};
use crate::catalog::Severity;
use crate::error::{Error, Result};

/// As many messages go out in a pass; what is left is due at once again.
const MOST_MESSAGES: usize = 200;
/// As much of what is to be told is looked at in a pass.
const MOST_ITEMS: usize = 2000;
/// After so many answers in a row that something is wrong, the sink as a whole is left alone.
const MOST_BROKEN: usize = 3;
/// So often it is looked whether what is held back still is to be.
const RECHECK: i64 = 300_000_000;
const DAY: i64 = 86_400_000_000;

/// The time by somebody's clock, in microseconds.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Worker {
    shared: Arc<Shared>,
    sink: usize,
    outbox: Outbox,
}

/// Names and values that the findings of a message have in common.
type Common = Vec<(String, String)>;

/// An item with all that is needed to tell it.
struct Due {
    item: Item,
    told: Told,
    route: Route,
}

impl Worker {
    pub(super) fn new(shared: &Arc<Shared>, sink: usize) -> Worker {
        let name = &shared.settings.sinks[sink].name;
        Worker {
            outbox: Outbox::of(&shared.store, name),
            shared: Arc::clone(shared),
            sink,
        }
    }

    fn sink(&self) -> &Sink {
        &self.shared.settings.sinks[self.sink]
    }

    /// What its outbox holds.
    pub(super) fn state(&mut self) -> Result<&State> {
        self.outbox.read()?;
        Ok(self.outbox.state())
    }

    /// When there is something to do, if nothing new comes.
    pub(super) fn next_due(&self) -> Option<i64> {
        self.outbox.state().next_due()
    }

    /// Takes in what is new; a sink that was not known begins.
    pub(super) async fn look(&mut self, now: i64) -> Result<Pass> {
        let mut pass = Pass::of(&self.sink().name);
        let Some(_lock) = self.outbox.lock(Duration::ZERO)? else {
            pass.is_busy = true;
            return Ok(pass);
        };
        self.outbox.read()?;
        self.take(now, &mut pass).await?;
        Ok(pass)
    }

    /// Takes in what is new, and tells what is due.
    pub(super) async fn pass(&mut self, clock: &Clock) -> Result<Pass> {
        let mut pass = Pass::of(&self.sink().name);
        let Some(_lock) = self.outbox.lock(Duration::ZERO)? else {
            pass.is_busy = true;
            return Ok(pass);
        };
        self.outbox.read()?;
        self.take(clock(), &mut pass).await?;
        self.tell(clock, &mut pass).await?;
        let state = self.outbox.state();
        pass.pending = state.pending().count();
        pass.next = state.next_due();
        Ok(pass)
    }

    /// Tells what is due.
    async fn tell(&mut self, clock: &Clock, pass: &mut Pass) -> Result<()> {
        let now = clock();
        let state = self.outbox.state();
        if state.next_due().is_none_or(|due| due > now) {
            return Ok(());
        }
        // Those that wait for others of their group as well; not those that failed or are held back.
        let is_ready =
            |item: &&Item| item.due <= now || (item.attempts == 0 && item.held.is_none());
        let mut pending: Vec<Item> = state.pending().filter(is_ready).cloned().collect();
        pending.sort_by(|a, b| {
            (a.taken, &a.finding, a.revision).cmp(&(b.taken, &b.finding, b.revision))
        });
        pending.truncate(MOST_ITEMS);
        let due = self.due(pending, now, pass).await?;
        let mut failed: BTreeSet<String> = BTreeSet::new();
        let mut broken = 0;
        for (count, (group, mut dues)) in self.messages(due, now).into_iter().enumerate() {
            // Of one finding nothing is told before what came earlier.
            dues.retain(|due| !failed.contains(&due.item.finding));
            if dues.is_empty() {
                continue;
            }
            if count >= MOST_MESSAGES {
                break;
            }
            let now = clock();
            let attempts = dues.iter().map(|due| due.item.attempts).max().unwrap_or(0);
            let (keys, findings) = self.told(dues).await?;
            let message = Message {
                sink: &pass.sink,
                now,
                group,
                findings,
                timeout: Duration::from_micros(self.sink().timeout.0.unsigned_abs()),
            };
            match self.sink().kind.send(&message).await {
                Ok(_) => {
                    broken = 0;
                    pass.sent += keys.len();
                    let severity = |told: &Told| told.severity.name().to_string();
                    let severities = message.findings.iter().map(severity);
                    let keys = keys.into_iter().zip(severities).collect();
                    self.outbox.sent(keys, clock())?;
                }
                Err(failure) => {
                    failed.extend(keys.iter().map(|(finding, _)| finding.clone()));
                    broken += 1;
                    let is_broken = broken >= MOST_BROKEN;
                    if self.failed(keys, attempts, &failure, is_broken, clock(), pass)? {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes down what failed. Says whether the sink is to be left alone.
    fn failed(
        &mut self,
        keys: Vec<Key>,
        attempts: u32,
        failure: &Failure,
        is_broken: bool,
        now: i64,
        pass: &mut Pass,
    ) -> Result<bool> {
        let retry = self.sink().retry;
        let is_dead = failure.reason == Reason::Refused || attempts + 1 >= retry.attempts;
        let concerns_the_sink = is_broken || failure.concerns_the_sink();
        let failures = self.outbox.state().failures + u32::from(concerns_the_sink);
        let name = keys
            .first()
            .map(|(finding, revision)| format!("{finding}.{revision}"));
        let name = name.unwrap_or_default();
        let rest = |tries: u32| {
            pause(retry, tries, &[&self.shared.seed, &pass.sink, &name])
                .max(failure.after.unwrap_or(0))
        };
        let (next, pause) = (now + rest(attempts + 1), now + rest(failures));
        pass.failures.push(failure.clone());
        match is_dead {
            true => pass.dead += keys.len(),
            false => pass.failed += keys.len(),
        }
        let next = (!is_dead).then_some(match concerns_the_sink {
            // It is tried first when the pause is over: the sink is what failed.
            true => pause,
            false => next,
        });
        self.outbox.failed(keys, now, failure.why.clone(), next)?;
        if concerns_the_sink {
            self.outbox.paused(pause, failures)?;
        }
        Ok(concerns_the_sink)
    }

    /// The findings as they are told, without what is not to leave.
    async fn told(&self, dues: Vec<Due>) -> Result<(Vec<Key>, Vec<Told>)> {
        let mut keys = Vec::with_capacity(dues.len());
        let mut findings = Vec::with_capacity(dues.len());
        let known = &self.outbox.state().known;
        let mut before: BTreeMap<String, Severity> = BTreeMap::new();
        for Due {
            item,
            mut told,
            route,
        } in dues
        {
            let last = || Severity::from_name(known.get(&told.finding)?.told.as_deref()?);
            told.severity_before = before
                .insert(told.finding.clone(), told.severity)
                .or_else(last)
                .filter(|before| *before != told.severity);
            if !route.include_content {
                let rule = self.shared.rule_of(&told);
                let title = rule.map(|file| file.rule.title.as_str());
                match rule {
                    Some(file) => {
                        let mut contents = self.shared.contents.lock().await;
                        let withheld = contents.of(&self.shared.rules, file).await?;
                        withheld.apply(&mut told, title);
                    }
                    None => Withheld::All.apply(&mut told, None),
                }
            }
            told.link = self.sink().link.as_ref().map(|link| {
                link.replace("{finding}", &told.finding)
                    .replace("{rule}", &told.rule)
            });
            keys.push(item.key());
            findings.push(told);
        }
        Ok((keys, findings))
    }

    /// Puts what was given up, or the last revision of a finding, into the outbox again.
    pub(super) async fn replay(
        &mut self,
        dead: bool,
        finding: Option<&str>,
        now: i64,
    ) -> Result<usize> {
        let Some(_lock) = self.outbox.lock(Duration::from_secs(30))? else {
            return Err(Error::Store {
                message: format!("the outbox of `{}` is in use", self.sink().name),
                hint: Some("try again when the delivery under way has ended".into()),
            });
        };
        self.outbox.read()?;
        let is_meant = |id: &str| finding.is_none_or(|wanted| wanted == id);
        let mut items: Vec<Item> = self
            .outbox
            .state()
            .dead()
            .filter(|item| is_meant(&item.finding))
            .cloned()
            .collect();
        if !dead && let Some(id) = finding {
            let id: String = id.chars().filter(char::is_ascii_hexdigit).collect();
            let known = self.query(&format!("finding_id = '{id}'")).await?;
            if let Some(mut told) = known.into_iter().max_by_key(|told| told.revision) {
                self.shared.add_rule(&mut told);
                if self.shared.route(self.sink(), &told, false).is_some() {
                    items.push(Item {
                        finding: told.finding,
                        revision: told.revision,
                        event: told.event.name().to_string(),
                        severity: told.severity.name().to_string(),
                        rule: told.rule,
                        window_end: told.window_end,
                        taken: now,
                        due: now,
                        attempts: 0,
                        held: None,
                        error: None,
                        is_dead: false,
                        is_replay: true,
                    });
                }
            }
        }
        for item in &mut items {
            (item.attempts, item.is_dead, item.is_replay) = (0, false, true);
            (item.due, item.held, item.error) = (now, None, None);
        }
        let count = items.len();
        if count > 0 {
            self.outbox.replayed(items)?;
        }
        Ok(count)
    }
}

/// How long to wait after a number of failures: twice as long after each, of which a random half. The same seed gives
/// the same pauses.
fn pause(retry: Retry, failures: u32, seed: &[&String]) -> i64 {
    let doubled = retry.first.0.saturating_mul(
        1_i64
            .checked_shl(failures.saturating_sub(1).min(40))
            .unwrap_or(i64::MAX),
    );
    let whole = doubled.min(retry.longest.0);
    let mut hash = blake3::Hasher::new();
    for part in seed {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.update(&failures.to_le_bytes());
    let mut random = [0_u8; 8];
    hash.finalize_xof().fill(&mut random);
    let half = whole / 2;
    let part = u64::from_le_bytes(random) % (half.unsigned_abs() + 1);
    whole - half + part.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Span;

    #[test]
    fn pauses_double_up_to_the_longest_and_the_seed_decides_the_rest() {
        let retry = Retry {
            first: Span(4_000_000),
            longest: Span(60_000_000),
            attempts: 5,
        };
        let (seed, other) = ("7".to_string(), "8".to_string());
        for (failures, whole) in [
            (1, 4),
            (2, 8),
            (3, 16),
            (4, 32),
            (5, 60),
            (60, 60),
            (4_000_000, 60),
        ] {
            let pause = |seed: &String| pause(retry, failures, &[seed]);
            let bounds = whole * 500_000..=whole * 1_000_000;
            assert!(bounds.contains(&pause(&seed)), "{failures}");
            assert_eq!(pause(&seed), pause(&seed));
            assert_ne!(pause(&seed), pause(&other));
        }
    }
}
