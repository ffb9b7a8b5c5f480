//! What can be asked for on the command line, and what it means.

use super::explain::Request;
use super::{Failure, check, completions, config, init, keygen, profiles, server, sessions, snippet, store};
use crate::config::{Config, parse};
use clap::{Args, Parser, Subcommand};
use http::{HeaderName, HeaderValue, Method, Uri};
use std::io::Read;
use std::path::PathBuf;

/// Where a configuration is looked for when nobody names one.
pub(super) const PLACES: [&str; 2] = ["cloakroom.toml", "/etc/cloakroom/cloakroom.toml"];

/// The longest value that could be a cookie of ours, with all its pieces.
const MAX_VALUE: u64 = 64 * 1024;

/// A reverse proxy that gives sessions to backends nobody can change.
#[derive(Debug, Parser)]
#[command(name = "cloakroom", version, arg_required_else_help = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve in the foreground
    Run(RunArguments),
    /// Start a small legacy application, the proxy and a page that shows both sides
    Demo(DemoArguments),
    /// Write a configuration to begin with
    Init(init::InitArguments),
    /// Report everything that is wrong with a configuration, or else what it means
    Check(check::CheckArguments),
    /// Say which route takes a request and why, and what the backend is sent
    Explain(ExplainArguments),
    /// Make a key: a `[[keys]]` block
    Keygen(keygen::KeygenArguments),
    /// Look into our cookies
    #[command(subcommand)]
    Cookie(CookieCommand),
    /// Print a file that reads and writes sessions in a language
    Snippet(snippet::SnippetArguments),
    /// List the kinds of backends and what they take
    Profiles(profiles::ProfilesArguments),
    /// Tell what a running server is doing
    Status(server::StatusArguments),
    /// Let a running server read its configuration again
    Reload(server::ReloadArguments),
    /// List, show and end sessions of a running server
    #[command(subcommand)]
    Sessions(sessions::SessionsCommand),
    /// List stores, and move sessions between them
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Show the configuration, or what it may say
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print completions for a shell
    Completions(completions::CompletionsArguments),
}

/// Which configuration is meant.
#[derive(Clone, Debug, Default, Args)]
pub struct FileArgument {
    /// The configuration; without it `$CLOAKROOM_CONFIG`, `./cloakroom.toml`, then `/etc/cloakroom/cloakroom.toml`
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl FileArgument {
    /// The file that is meant; it is named on standard error.
    ///
    /// # Errors
    /// [`Failure::NoConfiguration`] when nobody names one and there is none where one could be.
    pub fn find(&self) -> Result<PathBuf, Failure> {
        // Not an `env` of clap: what is in the environment must not conflict with what is asked for.
        let named = || std::env::var_os("CLOAKROOM_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
        let there = || PLACES.iter().map(PathBuf::from).find(|path| path.exists());
        let found = self.config.clone().or_else(named).or_else(there);
        let path = found.ok_or(Failure::NoConfiguration)?;
        eprintln!("configuration: {}", path.display());
        Ok(path)
    }

    /// The configuration that is meant.
    ///
    /// # Errors
    /// [`Failure::NoConfiguration`], or [`Failure::Configuration`] with all problems of the file.
    pub fn load(&self) -> Result<Config, Failure> {
        Ok(crate::config::load(&self.find()?)?)
    }
}

/// Arguments of `run`.
#[derive(Clone, Debug, Args)]
pub struct RunArguments {
    /// Which configuration is served.
    #[command(flatten)]
    pub file: FileArgument,
    /// Serve without a file: the address to listen on
    #[arg(long, value_name = "ADDRESS", requires = "upstream", conflicts_with = "config")]
    pub listen: Option<String>,
    /// Serve without a file: the backend, such as `http://127.0.0.1:9000`
    #[arg(long, value_name = "URL", requires = "listen")]
    pub upstream: Option<String>,
}

impl RunArguments {
    /// The configuration to serve: that of a file, or one listener, one backend, and sessions in memory.
    ///
    /// # Errors
    /// As [`FileArgument::load`]; [`Failure::Usage`] for an address or a URL that is none.
    pub fn load(&self) -> Result<Config, Failure> {
        let (Some(listen), Some(upstream)) = (&self.listen, &self.upstream) else { return self.file.load() };
        let quoted = |text: &String| toml::Value::String(text.clone()).to_string();
        let text = format!(
            "[listeners.web]\naddress = {}\n[upstreams.app]\nservers = [{}]\n[sessions.main]\nstore = \"memory\"\n\
             [[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\n",
            quoted(listen),
            quoted(upstream)
        );
        parse(&text, "the command line").map_err(|problems| Failure::usage(&problems))
    }
}

/// Arguments of `demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArguments {
    /// The port of the page; one of those after it where it is taken
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
}

/// Arguments of `explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArguments {
    /// The method, such as `GET`
    pub method: String,
    /// The URL that the client asks for
    pub url: String,
    /// A header that the client sends, such as `X-Debug: 1`
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    pub header: Vec<String>,
    /// The `Cookie` that the client sends
    #[arg(long)]
    pub cookie: Option<String>,
    /// Which configuration is asked.
    #[command(flatten)]
    pub file: FileArgument,
}

impl ExplainArguments {
    /// The request that is described.
    pub(super) fn request(&self) -> Result<Request, Failure> {
        let usage = |message: String| Failure::Usage(message);
        let method = Method::from_bytes(self.method.as_bytes())
            .map_err(|_| usage(format!("`{}` is not a method: write one such as `GET`", self.method)))?;
        let url = self.url.parse::<Uri>().map_err(|error| {
            usage(format!("`{}` is not a URL: {error}; write `https://www.example.org/path` or `/path`", self.url))
        })?;
        let header = |line: &String| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().parse::<HeaderName>().ok()?, value.trim().parse::<HeaderValue>().ok()?))
        };
        let headers = self.header.iter().map(|line| {
            header(line).ok_or_else(|| usage(format!("`{line}` is not a header: write it as `X-Debug: 1`")))
        });
        Ok(Request { method, url, headers: headers.collect::<Result<_, _>>()?, cookie: self.cookie.clone() })
    }
}

/// What to do with a cookie.
#[derive(Clone, Debug, Subcommand)]
pub enum CookieCommand {
    /// Say what a cookie of ours is, offline, with the keys of the configuration
    Inspect(InspectArguments),
}

/// Arguments of `cookie inspect`.
#[derive(Clone, Debug, Args)]
pub struct InspectArguments {
    /// The value of the cookie; `-` or nothing reads it from standard input
    pub value: Option<String>,
    /// Which configuration has the keys.
    #[command(flatten)]
    pub file: FileArgument,
}

impl InspectArguments {
    /// The value that is given, or that of standard input.
    pub(super) fn value(&self) -> Result<String, Failure> {
        if let Some(value) = self.value.as_ref().filter(|value| *value != "-") {
            return Ok(value.clone());
        }
        let mut value = String::new();
        match std::io::stdin().take(MAX_VALUE).read_to_string(&mut value) {
            Ok(_) => Ok(value),
            Err(error) => Err(Failure::Failed(format!("standard input cannot be read: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parsed(line: &str) -> Result<Command, clap::Error> {
        Arguments::try_parse_from(line.split(' ')).map(|arguments| arguments.command)
    }

    #[test]
    fn the_command_line_makes_sense() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn arguments_that_go_together_are_asked_for_together() {
        for good in [
            "cookie inspect - -c file",
            "demo --port 8080",
            "explain GET / -H a:b -H c:d --cookie x=y -c file",
            "sessions revoke --all -c file",
            "sessions revoke -Kg0aCuwCNb48-1c",
            "sessions show -- -cg0aCuwCNb48-1c",
            "status --socket a",
        ] {
            assert!(parsed(&format!("cloakroom {good}")).is_ok(), "{good}");
        }
        for bad in [
            "run --listen 127.0.0.1:8080",
            "run --listen a --upstream b -c file",
            "cookie",
            "config",
            "sessions",
            "sessions revoke",
            "sessions revoke --all --user a",
            "status --socket a -c b",
        ] {
            assert!(parsed(&format!("cloakroom {bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_server_needs_no_file() {
        let load = |line: &str| match parsed(line).unwrap() {
            Command::Run(arguments) => arguments.load(),
            other => panic!("{other:?}"),
        };
        let config = load("cloakroom run --listen 127.0.0.1:8080 --upstream http://10.0.0.1:9000").unwrap();
        assert_eq!((config.listeners.len(), config.routes.len(), config.policies.len()), (1, 1, 1));
        let failure = load("cloakroom run --listen :8080 --upstream http://10.0.0.1:9000").unwrap_err();
        assert_eq!(failure.code(), 2);
        assert!(failure.to_string().contains("`:8080` is not an address to listen on; write"), "{failure}");
    }

    #[test]
    fn a_request_is_described_as_curl_does() {
        let request = |line: &str| match parsed(line).unwrap() {
            Command::Explain(arguments) => arguments.request(),
            other => panic!("{other:?}"),
        };
        let good =
            request("cloakroom explain GET https://a.org/b?c -H X_Session_User:root --cookie session=x").unwrap();
        assert_eq!((good.url.path(), good.headers[0].0.as_str()), ("/b", "x_session_user"));
        for bad in ["G{T /", "GET http://", "GET / -H x", "GET / -H :y"] {
            assert_eq!(request(&format!("cloakroom explain {bad}")).map(drop).unwrap_err().code(), 2, "{bad}");
        }
    }
}
