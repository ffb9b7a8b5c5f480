//! The order of the layers: a module names only modules of earlier rows, and siblings are strangers.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Rows from the bottom up, as `src/lib.rs` describes them.
const ROWS: [&[&str]; 7] = [
    &["clock", "secret"],
    &["session"],
    &["codec", "cookie", "store", "wire"],
    &["manager", "route"],
    &["proxy", "admin"],
    &["config"],
    &["app", "cli"],
];

/// `cli` starts what `app` wires; the two stand in one row because nothing else may choose implementations.
const WITHIN_A_ROW: [(&str, &str); 1] = [("cli", "app")];

fn row(module: &str) -> usize {
    let found = ROWS.iter().position(|row| row.contains(&module));
    found.unwrap_or_else(|| panic!("`{module}` has no row in tests/layering.rs: give it one, and in src/lib.rs"))
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The modules that a text names behind `crate::`, alone or in braces.
fn named(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        match rest.strip_prefix('{') {
            Some(list) => {
                let list = &list[..list.find("};").unwrap_or(list.len())];
                names.extend(list.split(',').map(|item| word(item.trim())));
            }
            None => drop(names.insert(word(rest))),
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn imports_point_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let (mut checked, mut wrong) = (0, Vec::new());
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        if matches!(module, "lib" | "main") {
            continue;
        }
        let text: String = fs::read_to_string(&file).unwrap();
        let code: String =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        for name in named(&code) {
            if name == module || !ROWS.concat().contains(&name.as_str()) {
                continue;
            }
            checked += 1;
            if row(&name) >= row(module) && !WITHIN_A_ROW.contains(&(module, &name)) {
                wrong.push(format!("{}: `{module}` may not know `{name}`", relative.display()));
            }
        }
        row(module);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 30, "only {checked} imports were found: the test looks in the wrong place");
}

#[test]
fn only_the_proxy_knows_pingoras_traits() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let knows = |file: &&PathBuf| fs::read_to_string(file).unwrap().contains("pingora::");
    let rooms: BTreeSet<String> = (files.iter().filter(knows))
        .map(|file| {
            file.strip_prefix(&root).unwrap().components().next().unwrap().as_os_str().to_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(rooms, ["app".to_owned(), "proxy".to_owned()].into());
}
