//! What is due of an outbox, and which messages it makes.

use std::collections::{BTreeMap, BTreeSet};

use super::taking::value_of;
use super::{Common, DAY, Due, RECHECK, Worker};
use crate::detect::time_text;
use crate::error::Result;
use crate::sinks::Pass;
use crate::sinks::finding::Told;
use crate::sinks::matching::held;
use crate::sinks::outbox::{Item, Key};

impl Worker {
    /// What of the items may go out now, with its finding. What nobody is to be told of is dropped or held back.
    pub(super) async fn due(
        &mut self,
        pending: Vec<Item>,
        now: i64,
        pass: &mut Pass,
    ) -> Result<Vec<Due>> {
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
    pub(super) fn messages(&self, due: Vec<Due>, now: i64) -> Vec<(Common, Vec<Due>)> {
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
}
