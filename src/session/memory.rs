//! How much memory the parts of a query may have.

use std::fmt;

use datafusion::error::Result;
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

/// Shares memory evenly among the parts of a query that can spill, and lets the first few have more.
///
/// Even shares alone starve a query of many parts: of a view over several logs it has sixty, most of which hold nothing,
/// and the sixtieth of a gigabyte may be less than a single batch. So a third of the memory is for whoever asks first.
/// Both together never give more than the limit, apart from what DataFusion takes without asking.
pub(super) struct SparePool {
    limit: usize,
    shares: FairSpillPool,
}

impl SparePool {
    pub(super) fn new(limit: usize) -> Self {
        SparePool {
            limit,
            shares: FairSpillPool::new(limit - limit / 3),
        }
    }
}

impl MemoryPool for SparePool {
    fn name(&self) -> &str {
        "spare"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.shares.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.shares.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.shares.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.shares.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let refused = match self.shares.try_grow(reservation, additional) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        // What is reserved up to here is within the spare third, whoever has it.
        if self.reserved().saturating_add(additional) > self.limit / 3 {
            return Err(refused);
        }
        self.shares.grow(reservation, additional);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.shares.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

impl fmt::Debug for SparePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SparePool")
            .field("limit", &self.limit)
            .field("reserved", &self.reserved())
            .finish()
    }
}

impl fmt::Display for SparePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}(limit: {}, reserved: {})",
            self.name(),
            self.limit,
            self.reserved()
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn consumers(pool: &Arc<dyn MemoryPool>, count: usize) -> Vec<MemoryReservation> {
        (0..count)
            .map(|number| {
                MemoryConsumer::new(format!("part {number}"))
                    .with_can_spill(true)
                    .register(pool)
            })
            .collect()
    }

    #[test]
    fn one_of_many_parts_may_have_a_third() {
        let pool: Arc<dyn MemoryPool> = Arc::new(SparePool::new(900));
        let parts = consumers(&pool, 60);
        assert!(parts[0].try_grow(300).is_ok());
        assert!(parts[1].try_grow(11).is_err());
        // A sixtieth of the other two thirds.
        assert!(parts[1].try_grow(10).is_ok());
    }

    #[test]
    fn all_together_never_have_more_than_the_limit() {
        for count in [1, 2, 7, 60] {
            let pool: Arc<dyn MemoryPool> = Arc::new(SparePool::new(900));
            let parts = consumers(&pool, count);
            for step in [100, 10, 1] {
                for part in &parts {
                    while part.try_grow(step).is_ok() {}
                }
            }
            assert!(
                pool.reserved() <= 900,
                "{count} parts have {}",
                pool.reserved()
            );
            assert!(
                pool.reserved() > 590,
                "{count} parts have {}",
                pool.reserved()
            );
            drop(parts);
            assert_eq!(pool.reserved(), 0);
        }
    }
}
