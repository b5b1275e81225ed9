//! One pass of one sink: what is new goes into its outbox, what is due goes out.
//!
//! Sinks know nothing of each other: each has its outbox, its place in the history of findings, and its pauses, so that
//! a dead one keeps nobody waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::content::Withheld;
use super::failure::{Failure, Reason};
use super::finding::{Told, plain};
use super::kind::Message;
use super::matching::held;
use super::outbox::{Item, Key, Outbox, Seen, State};
use super::settings::{Retry, Route, Sink};
use super::{Pass, Shared};
use crate::catalog::Severity;
use crate::detect::{Event, row, rows, time_text};
use crate::error::{Error, Result};
use crate::schema::Table;

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

    /// Looks at the findings that came since, and writes down those to be told.
    async fn take(&mut self, now: i64, pass: &mut Pass) -> Result<()> {
        let newest = self.shared.store.snapshot(Table::Findings)?.version();
        let state = self.outbox.state();
        let news = match (state.seen, newest) {
            (None, _) => match self.sink().from {
                Some(from) => self.since(from).await?,
                None => {
                    pass.notes.push(format!(
                        "sink `{}` is new: it is told of findings from {} on; `from` in its settings says otherwise",
                        pass.sink,
                        time_text(now)
                    ));
                    Vec::new()
                }
            },
            (Some(Seen::Version(seen)), Some(newest)) if newest == seen => return Ok(()),
            (Some(_), None) => return Ok(()),
            (Some(Seen::Version(seen)), _) => match self.added(seen)? {
                Some(news) => news,
                // The log no longer tells. What was taken in is known, so that a day more is no harm.
                None => self.since(state.looked - DAY).await?,
            },
            (Some(Seen::Before(instant)), _) => self.since(instant).await?,
        };
        // There was no finding at all.
        let seen = newest.map_or(Seen::Before(i64::MIN), Seen::Version);
        let items = self.chosen(news, now);
        pass.taken = items.len();
        self.outbox.took(seen, now, items)
    }

    /// The findings of the files that were added since a version; `None` when they are not there as they were.
    fn added(&self, seen: u64) -> Result<Option<Vec<Told>>> {
        let store = &self.shared.store;
        let Some(files) = store.added_since(Table::Findings, seen)? else {
            return Ok(None);
        };
        let mut news = Vec::new();
        for file in files {
            let batches = match store.read_file(Table::Findings, &file.path) {
                Ok(batches) => batches,
                // Its rows are in another by now.
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            for batch in batches {
                let batch = batch?;
                for index in 0..batch.num_rows() {
                    news.extend(Told::from_row(&row(&batch, index)?));
                }
            }
        }
        Ok(Some(news))
    }

    /// The findings of evaluations since an instant.
    async fn since(&self, instant: i64) -> Result<Vec<Told>> {
        let condition = match instant {
            i64::MIN => "true".to_string(),
            instant => format!("evaluated_at >= TIMESTAMP '{}'", time_text(instant)),
        };
        self.query(&condition).await
    }

    async fn query(&self, condition: &str) -> Result<Vec<Told>> {
        let sql = format!("SELECT * FROM findings WHERE {condition}");
        let rows: Vec<Map<String, Value>> = rows(&self.shared.context, &sql).await?;
        Ok(rows.iter().filter_map(Told::from_row).collect())
    }

    /// Those that this sink is to tell.
    fn chosen(&self, mut news: Vec<Told>, now: i64) -> Vec<Item> {
        let state = self.outbox.state();
        news.sort_by(|a, b| {
            (a.evaluated_at, &a.finding, a.revision).cmp(&(b.evaluated_at, &b.finding, b.revision))
        });
        // Findings that are to be told, each as severe as it will be then.
        let mut waiting: BTreeMap<String, Severity> = state
            .pending()
            .filter_map(|item| Some((item.finding.clone(), Severity::from_name(&item.severity)?)))
            .collect();
        let mut items: Vec<Item> = Vec::new();
        for mut told in news {
            let known = state.known.get(&told.finding);
            if known.is_some_and(|known| known.taken >= told.revision) {
                continue;
            }
            self.shared.add_rule(&mut told);
            let is_heard = state.was_told(&told.finding) || waiting.contains_key(&told.finding);
            let Some(route) = self.shared.route(self.sink(), &told, is_heard) else {
                continue;
            };
            let last = || Severity::from_name(known?.told.as_deref()?);
            let before = waiting.get(&told.finding).copied().or_else(last);
            if !is_wanted(&told, &route, self.sink(), is_heard, before) {
                continue;
            }
            waiting.insert(told.finding.clone(), told.severity);
            items.push(Item {
                due: match told.is_end() {
                    true => now,
                    false => now + route.group_wait.0,
                },
                event: told.event.name().to_string(),
                severity: told.severity.name().to_string(),
                rule: told.rule,
                window_end: told.window_end,
                taken: now,
                attempts: 0,
                held: None,
                error: None,
                is_dead: false,
                is_replay: false,
                finding: told.finding,
                revision: told.revision,
            });
        }
        items
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

    /// What of the items may go out now, with its finding. What nobody is to be told of is dropped or held back.
    async fn due(&mut self, pending: Vec<Item>, now: i64, pass: &mut Pass) -> Result<Vec<Due>> {
        let revisions = self.revisions(&pending).await?;
        let state = self.outbox.state();
        // What failed waits for its time, and what came after it as well.
        let waiting: BTreeMap<&str, i64> = state
            .pending()
            .filter(|item| item.attempts > 0 && item.due > now)
            .map(|item| (item.finding.as_str(), item.revision))
            .rev()
            .collect();
        let mut dropped: Vec<Key> = Vec::new();
        let mut holds: BTreeMap<(i64, String), Vec<Key>> = BTreeMap::new();
        let mut due = Vec::new();
        // By finding, each with its items in their order.
        let mut by_finding: BTreeMap<&str, Vec<&Item>> = BTreeMap::new();
        for item in &pending {
            by_finding.entry(&item.finding).or_default().push(item);
        }
        for (finding, items) in by_finding {
            let known = revisions
                .get(finding)
                .map(Vec::as_slice)
                .unwrap_or_default();
            let was_told = state.was_told(finding);
            let latest = known.last();
            let is_open = latest.is_some_and(Told::is_open);
            let is_retracted = latest.is_some_and(|told| told.status == "retracted");
            // Told of what never was, or of an end without a beginning, nobody would know what to do.
            let never_told = !was_told
                && !waiting.contains_key(finding)
                && items.iter().all(|item| item.attempts == 0);
            let is_moot = is_retracted && never_told;
            let mut has_begun = !never_told;
            let mut is_blocked = false;
            for item in items {
                let told = known.iter().find(|told| told.revision == item.revision);
                let Some(told) = told else {
                    pass.notes.push(format!(
                        "finding {finding} is no longer in the store: it is not told to `{}`",
                        pass.sink
                    ));
                    dropped.push(item.key());
                    continue;
                };
                let mut told = told.clone();
                self.shared.add_rule(&mut told);
                if !item.is_replay {
                    let hold = held(
                        &self.shared.settings.silences,
                        &self.shared.settings.maintenance,
                        &pass.sink,
                        &told,
                        now,
                    );
                    let is_held = hold.is_some() && !item.is_end();
                    let is_silent = (is_held || item.held.is_some()) && (was_told || !is_open);
                    if is_moot || is_silent || (item.is_end() && !has_begun) {
                        dropped.push(item.key());
                        continue;
                    }
                    if let (true, Some(hold)) = (is_held, hold) {
                        holds.entry(hold).or_default().push(item.key());
                        is_blocked = true;
                        continue;
                    }
                }
                let first = waiting.get(finding);
                if is_blocked || first.is_some_and(|first| *first < item.revision) {
                    continue;
                }
                let is_heard = was_told || item.is_replay || item.is_end();
                let Some(route) = self.shared.route(self.sink(), &told, is_heard) else {
                    dropped.push(item.key());
                    continue;
                };
                has_begun = true;
                due.push(Due {
                    item: item.clone(),
                    told,
                    route,
                });
            }
        }
        due.sort_by(|a, b| {
            let key = |due: &Due| (due.item.taken, due.item.finding.clone(), due.item.revision);
            key(a).cmp(&key(b))
        });
        if !dropped.is_empty() {
            pass.dropped += dropped.len();
            self.outbox.dropped(dropped)?;
        }
        for ((until, by), keys) in holds {
            pass.held += keys.len();
            // Looked at again now and then: a silence may be taken back.
            self.outbox.held(keys, until.min(now + RECHECK), by)?;
        }
        Ok(due)
    }

    /// All revisions of the findings of items, in their order.
    async fn revisions(&self, items: &[Item]) -> Result<BTreeMap<String, Vec<Told>>> {
        let ids: BTreeSet<&str> = items.iter().map(|item| item.finding.as_str()).collect();
        let ids: Vec<String> = ids
            .into_iter()
            .filter(|id| id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
            .map(|id| format!("'{id}'"))
            .collect();
        let first = items.iter().map(|item| item.window_end).min();
        let mut revisions: BTreeMap<String, Vec<Told>> = BTreeMap::new();
        let (Some(first), false) = (first, ids.is_empty()) else {
            return Ok(revisions);
        };
        // A revision may end earlier than the one before, but not by much.
        let condition = format!(
            "window_end >= TIMESTAMP '{}' AND finding_id IN ({})",
            time_text(first - 31 * DAY),
            ids.join(", ")
        );
        for told in self.query(&condition).await? {
            revisions
                .entry(told.finding.clone())
                .or_default()
                .push(told);
        }
        for known in revisions.values_mut() {
            known.sort_by_key(|told| told.revision);
        }
        Ok(revisions)
    }

    /// Messages, each with what its findings have in common; those that nothing waits for any more.
    fn messages(&self, due: Vec<Due>, now: i64) -> Vec<(Common, Vec<Due>)> {
        let most = self.sink().kind.most();
        let mut groups: Vec<(Common, Vec<Due>)> = Vec::new();
        for due in due {
            let group: Common = due
                .route
                .group_by
                .iter()
                .map(|name| (name.clone(), value_of(&due.told, name)))
                .collect();
            // Without anything in common, each for itself.
            let found = match group.is_empty() {
                true => None,
                false => groups.iter().position(|(known, _)| *known == group),
            };
            match found {
                Some(index) => groups[index].1.push(due),
                None => groups.push((group, vec![due])),
            }
        }
        let mut messages = Vec::new();
        for (group, mut dues) in groups {
            if dues.iter().all(|due| due.item.due > now) {
                continue;
            }
            while dues.len() > most {
                let rest = dues.split_off(most);
                messages.push((group.clone(), std::mem::replace(&mut dues, rest)));
            }
            messages.push((group, dues));
        }
        messages
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

/// Whether what happened is told.
fn is_wanted(
    told: &Told,
    route: &Route,
    sink: &Sink,
    is_heard: bool,
    before: Option<Severity>,
) -> bool {
    let events = route.events.as_ref().unwrap_or(&sink.events);
    if told.is_end() {
        return is_heard && events.contains(&told.event);
    }
    if told.is_suppressed {
        return false;
    }
    // To whom it is new, it opens: it may have become worse, or nobody was to be told before.
    let event = match is_heard {
        true => told.event,
        false => Event::Opened,
    };
    events.contains(&event) || before.is_some_and(|before| told.severity > before)
}

/// What findings may have in common.
fn value_of(told: &Told, name: &str) -> String {
    match name {
        "rule" => told.rule.clone(),
        "severity" => told.severity.name().to_string(),
        column => told.entity.get(column).map(plain).unwrap_or_default(),
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
