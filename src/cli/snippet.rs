//! `cloakroom snippet`: complete small files that read and write sessions.

use super::{Outcome, print};
use clap::{Args, ValueEnum};

/// Arguments of `snippet`.
#[derive(Clone, Debug, Args)]
pub struct SnippetArguments {
    /// The language or framework
    language: Language,
}

/// A language or framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Language {
    /// PHP
    Php,
    /// Perl, as CGI
    Perl,
    /// Python, as WSGI
    Python,
    /// Django
    Django,
    /// Flask
    Flask,
    /// Ruby, on Rack
    Ruby,
    /// Java, as a servlet
    Java,
    /// Java Server Pages
    Jsp,
    /// Classic ASP
    Asp,
    /// ASP.NET
    Aspx,
    /// Node.js, with or without Express
    Node,
    /// Go
    Go,
    /// bash, as CGI
    Bash,
    /// Any POSIX shell, as CGI
    Sh,
    /// A page's script that warns before a timeout
    Html,
}

impl Language {
    const fn file(self) -> &'static str {
        match self {
            Self::Php => include_str!("snippets/session.php"),
            Self::Perl => include_str!("snippets/session.pl"),
            Self::Python => include_str!("snippets/session.py"),
            Self::Django => include_str!("snippets/session_django.py"),
            Self::Flask => include_str!("snippets/session_flask.py"),
            Self::Ruby => include_str!("snippets/session.ru"),
            Self::Java => include_str!("snippets/SessionServlet.java"),
            Self::Jsp => include_str!("snippets/session.jsp"),
            Self::Asp => include_str!("snippets/session.asp"),
            Self::Aspx => include_str!("snippets/session.aspx"),
            Self::Node => include_str!("snippets/session.js"),
            Self::Go => include_str!("snippets/session.go"),
            Self::Bash => include_str!("snippets/session.bash"),
            Self::Sh => include_str!("snippets/session.sh"),
            Self::Html => include_str!("snippets/session-timeout.html"),
        }
    }
}

pub(super) fn snippet(arguments: &SnippetArguments) -> Outcome {
    print(arguments.language.file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_snippet_reads_and_writes_what_there_is() {
        for language in Language::value_variants().iter().filter(|language| **language != Language::Html) {
            let file = language.file().to_lowercase().replace('_', "-");
            for word in ["data", "state", "user", "flashes", "set", "add", "unset", "login", "destroy", "flash"] {
                assert!(file.contains(word), "{language:?} has no {word}");
            }
            assert!(
                file.contains("x-session-") && file.contains("commands") || file.contains("header()"),
                "{language:?}"
            );
        }
    }
}
