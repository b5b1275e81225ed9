//! Every input that fuzzing kept, held against the claim of its target: a corpus that nobody reads rots.

use std::fs;
use std::path::Path;

#[expect(
    unreachable_pub,
    reason = "public in the crate of the fuzz targets, which is built with libFuzzer alone"
)]
#[path = "../../fuzz/src/claims/mod.rs"]
mod claims;

#[test]
fn every_kept_input_is_answered_as_its_target_claims() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (target, _) in claims::TARGETS {
        let mut inputs = 0;
        for entry in fs::read_dir(corpora.join(target)).expect(target) {
            let path = entry.expect(target).path();
            let input = fs::read(&path).expect("an input is read");
            let held = std::panic::catch_unwind(|| claims::hold(target, &input));
            assert!(held.is_ok(), "{}", path.display());
            inputs += 1;
        }
        assert!(inputs > 0, "`{target}` has no corpus");
    }
}
