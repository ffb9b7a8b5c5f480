//! The name that was probably meant.

/// The name nearest to `text`, if one is near enough to be meant.
pub fn nearest<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_lowercase();
    let names: Vec<&str> = names.into_iter().collect();
    let near = |name: &&&str| (distance(&text, &name.to_lowercase()), name.len());
    let best = *names.iter().min_by_key(near)?;
    let limit = (text.chars().count().max(best.chars().count()) / 3).max(1);
    if near(&&best).0 <= limit {
        return Some(best);
    }
    // `absolute` is far from `absolute_timeout`, and means it all the same.
    let begins = |name: &&&str| text.len() >= 4 && (name.starts_with(&text) || text.starts_with(**name));
    names.iter().find(begins).copied()
}

/// `did you mean ..`, or else the list of what there is.
pub fn suggestion<'a>(text: &str, names: impl IntoIterator<Item = &'a str>, none: &str) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match nearest(text, names.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if names.is_empty() => none.into(),
        None => format!("choose {}", list(&names)),
    }
}

/// Names in backticks, as `a`, `b` or `c`.
pub fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => quoted.concat(),
    }
}

/// How many letters must be put in, left out, changed or swapped with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_pen_are_recognised_and_other_words_are_not() {
        let names = ["idle_timeout", "absolute_timeout", "store", "touch_interval"];
        for (text, expected) in [
            ("idle_timout", Some("idle_timeout")),
            ("idle_tiemout", Some("idle_timeout")),
            ("Store", Some("store")),
            ("absolute", Some("absolute_timeout")),
            ("backend", None),
            ("x", None),
        ] {
            assert_eq!(nearest(text, names), expected, "{text}");
        }
        assert_eq!(nearest("x", []), None);
        assert_eq!(suggestion("zzz", ["a", "b", "c"], "-"), "choose `a`, `b` or `c`");
        assert_eq!(suggestion("zzz", [], "there is none"), "there is none");
    }
}
