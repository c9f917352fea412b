//! "Did you mean": the known name nearest to a mistyped one.

/// The candidate with the smallest edit distance, if it is near enough to be what was meant (a third of the length).
pub fn suggest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A name that is longer is no typing error, and the table would cost time on hostile input.
    if word.chars().count() > 64 {
        return None;
    }
    let limit = (word.chars().count() / 3).max(2);
    candidates
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(d, _)| *d <= limit)
        .min()
        .map(|(_, c)| c)
}

/// Levenshtein's edit distance, in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_near_and_leaves_the_far() {
        let known = ["flux_schnell", "flux_dev", "imagen4"];
        assert_eq!(suggest("flux_schnel", known.into_iter()), Some("flux_schnell"));
        assert_eq!(suggest("fluxdev", known.into_iter()), Some("flux_dev"));
        assert_eq!(suggest("midjourney", known.into_iter()), None);
    }
}
