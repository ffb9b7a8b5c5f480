//! What backends take: limits and habits of legacy servers, measured with their default configuration.

use super::budget::Budget;

/// What a server does with a header field that is repeated in a request.
pub type Habit = &'static str;

/// A kind of backend: what it takes and what it does to headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The name in `[upstreams.<name>] profile`.
    pub name: &'static str,
    /// The servers it stands for.
    pub servers: &'static str,
    /// What we may send it.
    pub budget: Budget,
    /// The largest single header value it was seen to take, in bytes.
    pub max_value: usize,
    /// The largest header section it was seen to take, in bytes.
    pub max_total: usize,
    /// What it answers beyond that.
    pub over_limit: Habit,
    /// Which other spellings of a name reach the application as the same variable.
    pub folding: Habit,
    /// What it makes of a repeated field.
    pub repeats: Habit,
    /// How bytes above 0x7F reach the application.
    pub charset: Habit,
}

const fn budget(fields: usize, value: usize, line: usize, total: usize) -> Budget {
    Budget { fields, value, line, total }
}

/// All profiles, by name. `generic` is the default and safe for all but a CIS-hardened Apache, whose lines are short, and
/// uWSGI, whose 4 KiB must also hold what the browser sends.
#[rustfmt::skip]
pub const PROFILES: &[Profile] = &[
    Profile { name: "generic", servers: "anything; the smallest common limits",
        budget: budget(32, 1024, 3072, 3072), max_value: 3859, max_total: 4096, over_limit: "an error or a closed connection",
        folding: "every character that is no letter or digit, at worst", repeats: "joined, or the last wins", charset: "bytes or Latin-1" },
    Profile { name: "apache-php", servers: "Apache 2.4 with mod_php or php-fpm",
        budget: budget(32, 4096, 8000, 16384), max_value: 8178, max_total: 98_000, over_limit: "400",
        folding: "`_` and `.` dropped from the environment, still in getallheaders()", repeats: "a, b", charset: "bytes" },
    Profile { name: "apache-cgi", servers: "Apache 2.4 with CGI or mod_wsgi",
        budget: budget(32, 4096, 8000, 16384), max_value: 8178, max_total: 98_000, over_limit: "400",
        folding: "`_` and `.` dropped", repeats: "a, b", charset: "bytes (WSGI: Latin-1)" },
    Profile { name: "apache-cis", servers: "Apache 2.4 hardened by the CIS benchmark",
        budget: budget(32, 960, 960, 8192), max_value: 1000, max_total: 98_000, over_limit: "400",
        folding: "`_` and `.` dropped", repeats: "a, b", charset: "bytes" },
    Profile { name: "nginx-php", servers: "nginx with php-fpm",
        budget: budget(32, 4096, 8000, 12288), max_value: 8177, max_total: 32_000, over_limit: "400",
        folding: "`_` and `.` dropped", repeats: "the last wins", charset: "bytes" },
    Profile { name: "php-dev", servers: "php -S",
        budget: budget(32, 4096, 16384, 16384), max_value: 81_851, max_total: 81_851, over_limit: "connection closed",
        folding: "`_` and `.` reach the same variable, the last wins", repeats: "a, b", charset: "bytes" },
    Profile { name: "lighttpd", servers: "lighttpd 1.4 with CGI or FastCGI",
        budget: budget(32, 2048, 4096, 4096), max_value: 8116, max_total: 8192, over_limit: "431",
        folding: "every character that is no letter or digit", repeats: "a, b", charset: "bytes" },
    Profile { name: "tomcat", servers: "Tomcat 10.1, servlets and JSP",
        budget: budget(32, 2048, 4096, 4096), max_value: 8114, max_total: 8192, over_limit: "400",
        folding: "none", repeats: "a list", charset: "Latin-1" },
    Profile { name: "gunicorn", servers: "gunicorn",
        budget: budget(32, 4096, 8000, 16384), max_value: 8175, max_total: 98_000, over_limit: "431",
        folding: "`_` dropped, `.` kept apart", repeats: "a,b", charset: "Latin-1" },
    Profile { name: "uwsgi", servers: "uWSGI 2.0 with its default buffer-size",
        budget: budget(16, 1024, 1536, 1536), max_value: 3859, max_total: 4096, over_limit: "connection closed without an answer",
        folding: "`_` reaches the same variable, joined", repeats: "a, b", charset: "Latin-1" },
    Profile { name: "wsgi", servers: "wsgiref, Werkzeug, Django runserver, waitress",
        budget: budget(32, 4096, 16384, 16384), max_value: 65_521, max_total: 65_521, over_limit: "431",
        folding: "wsgiref joins `_`; the others drop it", repeats: "a,b", charset: "Latin-1" },
    Profile { name: "node", servers: "Node.js, Express",
        budget: budget(32, 4096, 8192, 8192), max_value: 16_343, max_total: 16_384, over_limit: "431",
        folding: "none", repeats: "a, b", charset: "Latin-1" },
    Profile { name: "puma", servers: "Puma, WEBrick",
        budget: budget(32, 4096, 16384, 16384), max_value: 81_920, max_total: 114_000, over_limit: "400 or 413",
        folding: "WEBrick: `_` reaches the same variable, the last wins", repeats: "Puma a, b; WEBrick the last wins", charset: "bytes" },
    Profile { name: "iis", servers: "IIS: classic ASP and ASP.NET",
        budget: budget(32, 4096, 8192, 8192), max_value: 16_384, max_total: 16_384, over_limit: "400 or 404.10",
        folding: "classic ASP reads `_` as `-`", repeats: "joined", charset: "UTF-8" },
    Profile { name: "mono", servers: "Mono ASP.NET behind FastCGI",
        budget: budget(32, 4096, 8000, 16384), max_value: 64_995, max_total: 65_535, over_limit: "500",
        folding: "dropped by the nginx in front", repeats: "the last wins", charset: "UTF-8" },
    Profile { name: "haproxy", servers: "anything behind HAProxy 2.6",
        budget: budget(32, 4096, 8192, 8192), max_value: 15_223, max_total: 15_360, over_limit: "400",
        folding: "none", repeats: "both lines", charset: "bytes" },
];

impl Profile {
    /// The profile of a name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        PROFILES.iter().find(|profile| profile.name == name)
    }

    /// What a backend is when nothing is said about it.
    #[must_use]
    pub const fn generic() -> &'static Self {
        &PROFILES[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_profile_sends_more_than_its_servers_take() {
        for Profile { name, budget, max_value, max_total, .. } in PROFILES {
            assert!(budget.line <= *max_value && budget.total < *max_total, "{name}");
            assert!(budget.value <= budget.line && budget.line <= budget.total && budget.fields >= 8, "{name}");
        }
    }

    #[test]
    fn profiles_are_found_by_name() {
        assert_eq!(Profile::find("lighttpd").map(|profile| profile.budget.line), Some(4096));
        assert_eq!(Profile::generic().name, "generic");
        assert!(Profile::find("nothing").is_none());
    }
}
