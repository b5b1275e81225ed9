//! Numbers in order, of which any can be added, removed or asked for by rank in next to no time.

/// Chunks split at this length: 4 KiB move in one go, and a million values are a few thousand chunks.
const CHUNK: usize = 512;

/// A sorted multiset of numbers, none of them NaN: a list of short sorted lists.
///
/// A tree has the better bounds and loses to this at every size that fits in memory, since a frame of a few hundred
/// rows, the usual case, is one chunk: a binary search and a short move.
#[derive(Debug, Default)]
pub(super) struct SortedValues {
    /// Sorted and not empty, as are the chunks among each other.
    chunks: Vec<Vec<f64>>,
    /// How many values are in the chunks before each; right below `known`, found when a rank is asked for.
    before: Vec<usize>,
    known: usize,
    len: usize,
}

impl SortedValues {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, value: f64) {
        self.len += 1;
        if self.chunks.is_empty() {
            self.chunks.push(vec![value]);
            return;
        }
        let index = self.chunk_of(value).min(self.chunks.len() - 1);
        let chunk = &mut self.chunks[index];
        chunk.insert(chunk.partition_point(|&other| other < value), value);
        if chunk.len() == CHUNK {
            let mut upper = Vec::with_capacity(CHUNK);
            upper.extend(chunk.drain(CHUNK / 2..));
            self.chunks.insert(index + 1, upper);
        }
        self.known = self.known.min(index + 1);
    }

    /// Removes one occurrence of `value`, if there is one.
    pub(super) fn remove(&mut self, value: f64) {
        let index = self.chunk_of(value);
        let Some(chunk) = self.chunks.get_mut(index) else {
            return;
        };
        let position = chunk.partition_point(|&other| other < value);
        if chunk[position] != value {
            return;
        }
        chunk.remove(position);
        if chunk.is_empty() {
            self.chunks.remove(index);
        }
        self.len -= 1;
        self.known = self.known.min(index + 1);
    }

    /// The median of at least one value: the mean of the middle two, if there are two.
    pub(super) fn median(&mut self) -> f64 {
        self.find_ranks();
        let upper = self.get(self.len / 2);
        if self.len % 2 == 1 {
            upper
        } else {
            (self.get(self.len / 2 - 1) + upper) / 2.0
        }
    }

    /// The median of the absolute differences from `median`, in a number of look-ups logarithmic in the length.
    ///
    /// The values closest to the median are neighbours in the order, so there is no need to sort differences: find
    /// where the closest half begins.
    pub(super) fn median_deviation(&mut self, median: f64) -> f64 {
        self.find_ranks();
        let half = self.len.div_ceil(2);
        let (below, above) = (
            |index| median - self.get(index),
            |index: usize| self.get(index) - median,
        );
        // The first start at which moving on would trade a closer value for one farther away.
        let (mut start, mut limit) = (0, self.len - half);
        while start < limit {
            let middle = start.midpoint(limit);
            if below(middle) > above(middle + half) {
                start = middle + 1;
            } else {
                limit = middle;
            }
        }
        let farthest = below(start).max(above(start + half - 1));
        if self.len % 2 == 1 {
            return farthest;
        }
        // An even number: the mean with the closest of those left outside.
        let outside_below = if start > 0 {
            below(start - 1)
        } else {
            f64::INFINITY
        };
        let outside_above = if start + half < self.len {
            above(start + half)
        } else {
            f64::INFINITY
        };
        (farthest + outside_below.min(outside_above)) / 2.0
    }

    /// The first chunk whose last value is not less than `value`.
    fn chunk_of(&self, value: f64) -> usize {
        self.chunks
            .partition_point(|chunk| chunk[chunk.len() - 1] < value)
    }

    fn find_ranks(&mut self) {
        self.before.resize(self.chunks.len(), 0);
        for index in self.known.max(1)..self.chunks.len() {
            self.before[index] = self.before[index - 1] + self.chunks[index - 1].len();
        }
        self.known = self.chunks.len();
    }

    /// The value of rank `index`, once [`Self::find_ranks`] was called.
    #[inline]
    fn get(&self, index: usize) -> f64 {
        if let [chunk] = self.chunks.as_slice() {
            return chunk[index];
        }
        let chunk = self.before.partition_point(|&before| before <= index) - 1;
        self.chunks[chunk][index - self.before[chunk]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn median(values: &mut [f64]) -> f64 {
        values.sort_unstable_by(f64::total_cmp);
        let middle = values.len() / 2;
        if values.len() % 2 == 1 {
            values[middle]
        } else {
            (values[middle - 1] + values[middle]) / 2.0
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn agrees_with_sorting_anew(
            moves in prop::collection::vec((any::<bool>(), -40_i16..40), 1..3000),
            spread in prop::sample::select(vec![0.01, 1.0, 1e9]),
        ) {
            let (mut sorted, mut naive) = (SortedValues::default(), Vec::<f64>::new());
            for (index, (add, value)) in moves.into_iter().enumerate() {
                // More come than go, so that chunks split; some values are equal and some are not.
                let value = if index % 3 == 0 { f64::from(value) } else { f64::from(value) * spread + index as f64 };
                if add || index % 4 > 0 || naive.is_empty() {
                    sorted.insert(value);
                    naive.push(value);
                } else {
                    let gone = naive.swap_remove(index % naive.len());
                    sorted.remove(gone);
                }
                prop_assert_eq!(sorted.len(), naive.len());
                if index % 17 == 0 && !naive.is_empty() {
                    let expected = median(&mut naive);
                    prop_assert_eq!(sorted.median(), expected);
                    let mut deviations: Vec<_> = naive.iter().map(|value| (value - expected).abs()).collect();
                    prop_assert_eq!(sorted.median_deviation(expected), median(&mut deviations));
                }
            }
        }
    }

    #[test]
    fn removing_the_last_value_leaves_nothing() {
        let mut sorted = SortedValues::default();
        sorted.insert(1.0);
        sorted.remove(2.0);
        sorted.remove(0.5);
        assert_eq!(sorted.len(), 1);
        sorted.remove(1.0);
        assert_eq!(sorted.len(), 0);
        sorted.remove(1.0);
        assert_eq!(sorted.len(), 0);
    }
}
