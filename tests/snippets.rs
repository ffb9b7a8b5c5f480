//! The snippets, run by the interpreters that are here: what a session holds arrives, what is written can be read.

use std::path::Path;
use std::process::Command;

const TEXT: &str = "caf\u{e9} \u{20ac} 100%";

/// What the proxy sends; `title` is a further field of a message.
const SENT: [(&str, &str); 4] = [
    ("HTTP_X_SESSION_DATA", "name=caf%C3%A9%20%E2%82%AC%20100%25&sum=1%2B1%3D2&visits=3"),
    ("HTTP_X_SESSION_STATE", "live"),
    ("HTTP_X_SESSION_USER", "ada%40example.org"),
    ("HTTP_X_SESSION_FLASHES", "info=Saved%20it;title=a%3Bb&error=%C3%A9"),
];

/// Has an interpreter run a snippet, which prints headers, an empty line, and its page; `false` where it is not here.
fn check(language: &str, file: &str, program: &str, arguments: &[&str]) -> bool {
    let directory = tempfile::tempdir().expect("a directory of our own");
    let snippet =
        Command::new(env!("CARGO_BIN_EXE_cloakroom")).args(["snippet", language]).output().expect("the program starts");
    assert!(snippet.status.success());
    std::fs::write(directory.path().join(file), &snippet.stdout).expect(file);
    let run = |sent: &[(&'static str, &'static str)]| {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(directory.path())
            .envs(sent.iter().copied())
            .env("PYTHONIOENCODING", "utf-8");
        let output = command.output().ok()?;
        // 127 and `ModuleNotFoundError`: the interpreter, or what it needs, is not here.
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.code() == Some(127) || error.contains("ModuleNotFoundError") {
            return None;
        }
        assert!(output.status.success() && error.is_empty(), "{language}: {error}");
        Some(String::from_utf8(output.stdout).expect("UTF-8"))
    };
    let Some(page) = run(&SENT) else {
        eprintln!("{language} is not here: its snippet was not run");
        return false;
    };
    for line in ["state: live", "user: ada@example.org", &format!("name: {TEXT}"), "[info] Saved it", "[error] \u{e9}"]
    {
        assert!(page.lines().any(|own| own == line), "{language} does not say {line:?}: {page}");
    }
    assert_eq!(command(&page, "Set"), [format!("seen={TEXT}")], "{language}: {page}");
    assert_eq!(command(&page, "Add"), ["visits=1"], "{language}: {page}");
    // A first visit, whose page chooses the text itself.
    let first = run(&[("HTTP_X_SESSION_STATE", "none")]).expect("it ran before");
    assert_eq!(command(&first, "Set"), [format!("seen={TEXT}")], "{language}: {first}");
    assert_eq!(command(&first, "Flash"), ["info=Welcome."], "{language}: {first}");
    true
}

/// The values of a command's headers, decoded; encoded they have nothing but what the grammar allows.
fn command(page: &str, name: &str) -> Vec<String> {
    let head = page.split_once("\n\n").map_or("", |(head, _)| head);
    let prefix = format!("x-session-{}: ", name.to_lowercase());
    let values = head.lines().filter_map(|line| {
        let (own, value) = line.split_at_checked(prefix.len())?;
        (own.to_lowercase() == prefix).then_some(value)
    });
    values.map(decode).collect()
}

fn decode(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        assert!(first.is_ascii_graphic() && !b",+".contains(first), "{value:?} breaks the grammar");
        if *first == b'%' {
            let digits = std::str::from_utf8(&tail[..2]).expect("two digits");
            bytes.push(u8::from_str_radix(digits, 16).expect("two digits"));
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}

/// Has a WSGI application answer one request.
const WSGI: &str = "
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, '.')
from snippet import %s as application
environ = {k: v for k, v in os.environ.items() if k.startswith('HTTP_')}
environ.update({'REQUEST_METHOD': 'GET', 'PATH_INFO': '/', 'SERVER_NAME': 'a', 'SERVER_PORT': '80', 'wsgi.url_scheme': 'http',
    'wsgi.input': __import__('io').BytesIO(), 'wsgi.errors': sys.stderr, 'wsgi.version': (1, 0)})
def start_response(status, headers, *_):
    for name, value in headers: print(name + ': ' + value)
    print()
for part in application(environ, start_response): sys.stdout.write(part.decode('utf-8'))
";

#[test]
fn php_round_trips() {
    // `header()` of a namespace prints, since that of the command line keeps its headers for itself.
    let driver = "eval('namespace T; function header($line) { echo $line, \"\\n\"; \
        if ($line[0] === \"C\") { echo \"\\n\"; } } ?>' . file_get_contents('snippet.php'));";
    check("php", "snippet.php", "php", &["-d", "variables_order=EGPCS", "-r", driver]);
}

#[test]
fn perl_round_trips() {
    check("perl", "snippet.pl", "perl", &["snippet.pl"]);
}

#[test]
fn python_round_trips() {
    check("python", "snippet.py", "python3", &["-c", &WSGI.replace("%s", "application")]);
}

#[test]
fn flask_round_trips() {
    check("flask", "snippet.py", "python3", &["-c", &WSGI.replace("%s", "app")]);
}

#[test]
fn node_round_trips() {
    let driver = "
        const headers = {};
        for (const [name, value] of Object.entries(process.env))
            if (name.startsWith('HTTP_')) headers[name.slice(5).toLowerCase().replace(/_/g, '-')] = value;
        const sent = {};
        require('./snippet.js').page({ headers }, {
            getHeader: (name) => sent[name],
            setHeader: (name, value) => { sent[name] = value; },
            end: (body) => {
                for (const [name, values] of Object.entries(sent)) for (const value of [].concat(values)) console.log(name + ': ' + value);
                process.stdout.write('\\n' + body);
            },
        });";
    check("node", "snippet.js", "node", &["-e", driver]);
}

#[test]
fn bash_round_trips() {
    check("bash", "snippet.bash", "bash", &["snippet.bash"]);
}

#[test]
fn any_shell_round_trips() {
    assert!(check("sh", "snippet.sh", "sh", &["snippet.sh"]), "there is a shell everywhere");
}

#[test]
fn python_without_an_interpreter_for_its_framework_is_at_least_python() {
    let snippet = Path::new("src/cli/snippets/session_django.py");
    let script = "import sys; compile(open(sys.argv[1], encoding='utf-8').read(), sys.argv[1], 'exec')";
    if let Ok(status) = Command::new("python3").args(["-c", script]).arg(snippet).status() {
        assert!(status.success() || status.code() == Some(127));
    }
}
