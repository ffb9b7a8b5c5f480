//! What is wrong with a file: every problem at once, each with its place and a remedy, for people and for programs.

use super::given::Span;
use serde_json::{Value as Json, json};
use std::fmt::{self, Write};
use std::sync::Arc;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, and something about it should be known.
    Warning,
}

impl Severity {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A remark at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// The remark.
    pub text: String,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Its kind, such as `config::unknown_field`.
    pub code: &'static str,
    /// What is wrong, in a sentence.
    pub message: String,
    /// Where, unless the whole file is meant.
    pub span: Option<Span>,
    /// Remarks; one at `span` itself says more about it, others name places that matter too.
    pub labels: Vec<Label>,
    /// What would be right.
    pub help: Option<String>,
}

impl Problem {
    /// An error.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), span: None, labels: Vec::new(), help: None }
    }

    /// A warning.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// The same problem at a place; no place is the whole file.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span).filter(|span| !span.is_empty());
        self
    }

    /// The same problem with a remark at its own place.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Self {
        if let Some(span) = self.span.clone() {
            self.labels.push(Label { span, text: text.into() });
        }
        self
    }

    /// The same problem with a remark at another place.
    #[must_use]
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        if !span.is_empty() {
            self.labels.push(Label { span, text: text.into() });
        }
        self
    }

    /// The same problem with its remedy.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    /// Every text that a reader will see.
    pub(super) fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let labels = self.labels.iter_mut().map(|label| &mut label.text);
        std::iter::once(&mut self.message).chain(&mut self.help).chain(labels)
    }
}

impl fmt::Display for Problem {
    /// One line, for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "; {help}"))
    }
}

/// The text of a file and how it is called. `Debug` shows the name only: the text may hold keys.
#[derive(Clone, Default)]
pub struct Source {
    /// How the file is called.
    pub label: String,
    text: Arc<str>,
    /// Places whose characters are shown as `*`: secrets that stand in the file itself.
    hidden: Vec<Span>,
}

impl Source {
    pub(super) fn new(label: &str, text: &str) -> Self {
        Self { label: label.into(), text: text.into(), hidden: Vec::new() }
    }

    pub(super) fn hide(&mut self, spans: impl IntoIterator<Item = Span>) {
        self.hidden.extend(spans);
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Where a place begins: line, column in characters, both from 1.
    fn position(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// How many characters of a place stand in its first line, at least one.
    fn width(&self, span: &Span) -> usize {
        let end = self.text.ceil_char_boundary(span.end.max(span.start));
        let text = &self.text[self.text.floor_char_boundary(span.start)..end];
        text.lines().next().map_or(0, |line| line.chars().count()).max(1)
    }

    /// A line as it may be shown.
    fn line(&self, number: usize) -> String {
        let line = self.text.split('\n').nth(number - 1).unwrap_or_default();
        let start = line.as_ptr() as usize - self.text.as_ptr() as usize;
        let shown = |(offset, c): (usize, char)| match c {
            _ if self.hidden.iter().any(|span| span.contains(&(start + offset))) => '*',
            c if c.is_control() => ' ',
            c => c,
        };
        line.trim_end().char_indices().map(shown).collect()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.label)
    }
}

/// All problems of one file.
#[derive(Clone, Debug)]
pub struct Problems {
    source: Source,
    list: Vec<Problem>,
}

impl Problems {
    /// Problems in the order of reading: errors first, then by place.
    #[must_use]
    pub fn new(source: Source, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| (problem.severity, problem.span.as_ref().map_or(0, |span| span.start)));
        Self { source, list }
    }

    /// The problems.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// How many there are of a severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|problem| problem.severity == severity).count()
    }

    /// The problems for people, with or without colours.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let mut text = String::new();
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                text.push('\n');
            }
            // Writing to a string cannot fail.
            self.render_one(problem, colour, &mut text).unwrap_or_default();
        }
        let counted = |severity: Severity| match self.count(severity) {
            0 => None,
            1 => Some(format!("1 {}", severity.as_str())),
            n => Some(format!("{n} {}s", severity.as_str())),
        };
        let counts: Vec<String> = [Severity::Error, Severity::Warning].into_iter().filter_map(counted).collect();
        let counts = if counts.is_empty() { String::from("no errors") } else { counts.join(", ") };
        text + &format!("{}: {counts}.", self.source.label)
    }

    /// The problems for programs.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let place = |span: &Span| {
            let ((line, column), (end_line, end_column)) =
                (self.source.position(span.start), self.source.position(span.end));
            json!({ "line": line, "column": column, "end_line": end_line, "end_column": end_column })
        };
        let label = |label: &Label| json!({ "place": place(&label.span), "text": label.text });
        let problem = |problem: &Problem| {
            json!({
                "severity": problem.severity.as_str(),
                "code": problem.code,
                "message": problem.message,
                "place": problem.span.as_ref().map(place),
                "labels": problem.labels.iter().map(label).collect::<Vec<_>>(),
                "help": problem.help,
            })
        };
        json!({
            "file": self.source.label,
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
            "problems": self.list.iter().map(problem).collect::<Vec<_>>(),
        })
    }

    fn render_one(&self, problem: &Problem, colour: bool, out: &mut String) -> fmt::Result {
        let paint = |text: &str| match problem.severity {
            _ if !colour => text.to_owned(),
            Severity::Error => format!("\x1b[1;31m{text}\x1b[0m"),
            Severity::Warning => format!("\x1b[1;33m{text}\x1b[0m"),
        };
        writeln!(out, "{}: {}", paint(&format!("{}[{}]", problem.severity.as_str(), problem.code)), problem.message)?;
        let mut marks = self.marks(problem);
        let gutter = marks.iter().map(|mark| mark.line.to_string().len()).max().unwrap_or(1);
        match &problem.span {
            None => writeln!(out, "{:gutter$}--> {}", "", self.source.label)?,
            Some(span) => {
                let (line, column) = self.source.position(span.start);
                writeln!(out, "{:gutter$}--> {}:{line}:{column}", "", self.source.label)?;
                writeln!(out, "{:gutter$} |", "")?;
            }
        }
        marks.sort_by_key(|mark| (mark.line, mark.column));
        let mut shown = None;
        for mark in marks {
            if shown != Some(mark.line) {
                writeln!(out, "{:>gutter$} | {}", mark.line, self.source.line(mark.line))?;
                shown = Some(mark.line);
            }
            let sign = mark.sign.repeat(mark.width);
            let sign = if mark.sign == "^" { paint(&sign) } else { sign };
            let line = format!("{:gutter$} | {}{sign} {}", "", " ".repeat(mark.column - 1), mark.text);
            writeln!(out, "{}", line.trim_end())?;
        }
        problem.help.as_ref().map_or(Ok(()), |help| writeln!(out, "{:gutter$} = help: {help}", ""))
    }

    /// What is to be underlined: the place of the problem, and the places of the remarks.
    fn marks<'a>(&self, problem: &'a Problem) -> Vec<Mark<'a>> {
        let mark = |span: &Span, sign, text| {
            let (line, column) = self.source.position(span.start);
            Mark { line, column, width: self.source.width(span), sign, text }
        };
        let (own, others): (Vec<_>, Vec<_>) =
            problem.labels.iter().partition(|label| Some(&label.span) == problem.span.as_ref());
        let own = own.first().map_or("", |label| label.text.as_str());
        let primary = problem.span.iter().map(|span| mark(span, "^", own));
        primary.chain(others.iter().map(|label| mark(&label.span, "-", label.text.as_str()))).collect()
    }
}

struct Mark<'a> {
    line: usize,
    column: usize,
    width: usize,
    sign: &'static str,
    text: &'a str,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}
