//! The shipped signatures against their own examples, and the matcher against hostile text.

use super::*;

fn score(text: &str, role: Role) -> f64 {
    Matcher::builtin().scan(&mut Scratch::default(), text, role).score
}

fn ids(text: &str) -> Vec<String> {
    let matcher = Matcher::builtin();
    matcher.scan(&mut Scratch::default(), text, Role::Unknown).hits.iter().map(|hit| matcher.signature(hit.signature).id.clone()).collect()
}

#[test]
fn every_signature_has_examples_and_meets_them() {
    let matcher = Matcher::builtin();
    assert!(matcher.signatures().len() >= 300);
    let mut wrong = Vec::new();
    for signature in matcher.signatures() {
        assert!(signature.matches.len() >= 2 && !signature.clean.is_empty(), "{}: too few examples", signature.id);
        for example in &signature.matches {
            let found = ids(example);
            if !found.contains(&signature.id) {
                wrong.push(format!("{} misses {example:?}, found {found:?}", signature.id));
            }
        }
        for example in &signature.clean {
            if ids(example).contains(&signature.id) {
                wrong.push(format!("{} hits {example:?}", signature.id));
            }
            let score = score(example, Role::Unknown);
            if score >= evaluate::THRESHOLD {
                wrong.push(format!("{}: {example:?} scores {score} for {:?}", signature.id, ids(example)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
