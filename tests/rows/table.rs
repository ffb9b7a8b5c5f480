//! The page that says where each feature is, and that every row of it is proven.

use crate::place::resolved;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// How many rows each part of the five libraries' features has.
const PARTS: [(char, usize); 7] = [('C', 35), ('R', 23), ('S', 19), ('L', 11), ('E', 11), ('F', 12), ('P', 5)];

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The page, and of it the part about what does not carry over.
fn page() -> (String, String) {
    let page = read("docs/from-the-libraries.md");
    let (rows, dropped) = page.split_once("\n## What does not carry over\n").expect("the last part");
    (rows.to_owned(), dropped.to_owned())
}

/// The cells of each line of a table that begins with the id of a row.
fn rows(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<_> = line.trim_matches('|').split(" |").map(|cell| cell.trim().to_owned()).collect();
        if is_row(&cells[0]) {
            assert!(found.insert(cells[0].clone(), cells.clone()).is_none(), "{} has two lines", cells[0]);
        }
    }
    found
}

fn is_row(word: &str) -> bool {
    let (part, number) = word.split_at(word.len().min(1));
    PARTS.iter().any(|(own, most)| part == own.to_string() && number.parse().is_ok_and(|n| (1..=*most).contains(&n)))
}

/// The rows that a comment right before a test names.
fn proven() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rows")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = source.lines().collect();
        for pair in lines.windows(2).filter(|pair| pair[1] == "#[test]" || pair[1] == "#[tokio::test]") {
            let named = pair[0].strip_prefix("// ").unwrap_or_default().split(", ");
            found.extend(named.filter(|word| is_row(word)).map(str::to_owned));
        }
    }
    found
}

#[test]
fn every_row_has_a_line_and_a_test_or_a_reason_why_not() {
    let (page, dropped) = page();
    let (told, dropped, proven) = (rows(&page), rows(&dropped), proven());
    for (part, most) in PARTS {
        for row in (1..=most).map(|number| format!("{part}{number}")) {
            if let Some(cells) = dropped.get(&row) {
                assert!(cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty()), "{row} needs a reason");
                assert!(!told.contains_key(&row) && !proven.contains(&row), "{row} is dropped, and is not");
            } else {
                assert_eq!(told.get(&row).map(Vec::len), Some(4), "{row} has no line, or one of other cells");
                assert!(proven.contains(&row), "{row} has no test");
            }
        }
    }
}

#[test]
fn every_setting_that_the_page_shows_works() {
    let (page, _) = page();
    let blocks: Vec<_> = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 5, "one for each library");
    for block in blocks {
        resolved(block);
    }
}
