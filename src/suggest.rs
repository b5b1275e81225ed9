//! "Did you mean": the nearest known name to one that does not exist.
//!
//! Used wherever a person types a name that must exist: columns, tables, functions, settings, shell commands. It only
//! ranks names; wording of the hint is the caller's.

/// The known name that `name` was most likely meant to be, or `None` when nothing is close.
///
/// Distance is Damerau–Levenshtein (insert, delete, replace, swap of neighbours) without regard to case. A name may be
/// off by a third of its length, at least by one and at most by four, so that `x` does not suggest `id`. Of equally
/// near names the first wins. A name that differs in case alone is at distance zero and is suggested.
///
/// ```
/// use inferwatch::suggest::nearest;
///
/// assert_eq!(nearest("evnt_time", ["caller", "event_time"]), Some("event_time"));
/// assert_eq!(nearest("weather", ["caller", "event_time"]), None);
/// ```
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let allowed = (name.chars().count() / 3).clamp(1, 4);
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&name, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| {
            // Everything is within one edit of a name of one letter.
            *distance <= allowed && *distance < candidate.chars().count()
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn typing_slips_find_their_name() {
        let known = ["severity", "lookback", "references", "id"];
        assert_eq!(nearest("severty", known), Some("severity"));
        assert_eq!(nearest("lokback", known), Some("lookback"));
        assert_eq!(nearest("refernecs", known), Some("references"));
        assert_eq!(nearest("SEVERITY", known), Some("severity"));
        assert_eq!(nearest("di", known), Some("id"));
    }

    #[test]
    fn distant_names_are_not_suggested() {
        assert_eq!(nearest("x", ["id", "y"]), None);
        assert_eq!(nearest("price", ["severity", "lookback"]), None);
        assert_eq!(nearest("", ["a"]), None);
        assert_eq!(nearest("name", []), None);
    }

    #[test]
    fn the_nearest_wins_and_then_the_first() {
        assert_eq!(nearest("calls", ["call", "calls_"]), Some("call"));
        assert_eq!(nearest("modle", ["models", "model"]), Some("model"));
    }
}
