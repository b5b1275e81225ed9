//! Counts of pairs of the numbers that an interner gives out.

use datafusion_common::HashMap;

use crate::stats::contingency::Cell;

/// The most columns that are counted in a table. Two sides or a single column are the usual case; a table for many would
/// be mostly empty.
const MAX_WIDTH: usize = 8;

/// How often each pair (row, column) occurred: a table while columns are few, since rows are numbered without gaps and
/// indexing beats hashing by far, and a hash map from then on.
#[derive(Debug)]
pub(super) struct Counts {
    table: Vec<u64>,
    /// Columns of the table; 0 once the map has taken over.
    width: usize,
    map: HashMap<(u32, u32), u64>,
    /// How many pairs have a count.
    pairs: usize,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            table: Vec::new(),
            width: 1,
            map: HashMap::default(),
            pairs: 0,
        }
    }
}

impl Counts {
    /// How many pairs there are.
    pub(super) fn pairs(&self) -> usize {
        self.pairs
    }

    /// Counts a pair `count` > 0 times more.
    #[inline]
    pub(super) fn add(&mut self, (row, column): (u32, u32), count: u64) {
        if column as usize >= self.width && self.width > 0 {
            self.widen(column as usize + 1);
        }
        let slot = if self.width > 0 {
            let index = row as usize * self.width + column as usize;
            if index >= self.table.len() {
                self.table.resize((row as usize + 1) * self.width, 0);
            }
            &mut self.table[index]
        } else {
            self.map.entry((row, column)).or_default()
        };
        self.pairs += usize::from(*slot == 0);
        *slot += count;
    }

    /// Counts a pair once less; false if it has no count.
    pub(super) fn remove_one(&mut self, (row, column): (u32, u32)) -> bool {
        let slot = if self.width > 0 {
            let index = row as usize * self.width + column as usize;
            let slot = self.table.get_mut(index);
            slot.filter(|_| (column as usize) < self.width)
        } else {
            self.map.get_mut(&(row, column))
        };
        let Some(slot) = slot.filter(|slot| **slot > 0) else {
            return false;
        };
        *slot -= 1;
        if *slot == 0 {
            self.pairs -= 1;
            self.map.remove(&(row, column));
        }
        true
    }

    /// The pairs that have a count.
    pub(super) fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::with_capacity(self.pairs);
        for (row, counts) in (0..).zip(self.table.chunks_exact(self.width.max(1))) {
            let counts = (0..).zip(counts).filter(|(_, count)| **count > 0);
            cells.extend(counts.map(|(column, &count)| Cell { row, column, count }));
        }
        cells.extend(
            self.map
                .iter()
                .map(|(&(row, column), &count)| Cell { row, column, count }),
        );
        cells
    }

    /// Bytes of memory held.
    pub(super) fn size(&self) -> usize {
        self.table.capacity() * size_of::<u64>() + self.map.allocation_size()
    }

    /// Makes room for `columns` columns.
    #[cold]
    fn widen(&mut self, columns: usize) {
        let cells = self.cells();
        let width = columns.next_power_of_two();
        *self = Self {
            width: if width > MAX_WIDTH { 0 } else { width },
            ..Self::default()
        };
        cells
            .into_iter()
            .for_each(|cell| self.add((cell.row, cell.column), cell.count));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_plain_map(
            moves in prop::collection::vec((any::<bool>(), 0_u32..6, 0_u32..12), 0..200),
            columns in 1_u32..12,
        ) {
            let (mut counts, mut plain) = (Counts::default(), BTreeMap::<_, u64>::new());
            for (is_added, row, column) in moves {
                let pair = (row, column % columns);
                if is_added {
                    counts.add(pair, 1);
                    *plain.entry(pair).or_default() += 1;
                } else {
                    let is_known = plain.contains_key(&pair);
                    prop_assert_eq!(counts.remove_one(pair), is_known);
                    if is_known {
                        plain.entry(pair).and_modify(|count| *count -= 1);
                        plain.retain(|_, count| *count > 0);
                    }
                }
            }
            let mut cells = counts.cells();
            cells.sort_unstable();
            let expected = plain.iter().map(|(&(row, column), &count)| Cell { row, column, count });
            prop_assert_eq!(&cells, &expected.collect::<Vec<_>>());
            prop_assert_eq!(counts.pairs(), cells.len());
        }
    }
}
