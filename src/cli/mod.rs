//! The command line.
mod demo;
mod explain;
mod inspect;
mod run;
use std::process::ExitCode;
/// Prints an error and its causes.
pub(crate) fn print_error(error: &(dyn std::error::Error + 'static)) {
    eprintln!("error: {error}");
    let mut n = error.source();
    while let Some(e) = n {
        eprintln!("  because: {e}");
        n = e.source();
    }
}
/// x
pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("demo") => demo::demo(args.get(3).and_then(|p| p.parse().ok()).unwrap_or(8080)),
        Some("run") => match crate::config::load(std::path::Path::new(&args[3])) {
            Ok(c) => run::run(c),
            Err(p) => {
                eprintln!("{p}");
                ExitCode::from(78)
            }
        },
        _ => {
            let _ = (explain::explain, inspect::inspect);
            ExitCode::from(2)
        }
    }
}
