//! The snippets, run by the interpreters that are here: what a session holds arrives, what is written can be read.

mod support;

use std::path::Path;
use std::process::Command;
use support::client::get;
use support::upstream::ok;

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

/// Messages as the proxy tells them: every field, and what must be escaped in one way or another.
const MESSAGES: [&str; 3] = [
    "info=Other",
    "warning=caf%C3%A9%20%E2%82%AC%20100%25;body=%3Cb%3Ea%3B%26%2C%3D%2B%0D%0A%22%3C%2Fb%3E;life=5;list=cart;title=Sold%20out",
    "error=No;list=cart",
];

/// A snippet is shown messages, and by its own functions sends on the warnings of the cart, and then those of no list. What
/// it said is what the next request is told.
fn passes_messages_on(language: &str, file: &str, program: &str, arguments: &[&str]) {
    let directory = tempfile::tempdir().expect("a directory of our own");
    let snippet = Command::new(env!("CARGO_BIN_EXE_cloakroom")).args(["snippet", language]).output();
    std::fs::write(directory.path().join(file), snippet.expect("the program starts").stdout).expect(file);
    let site = support::Site::new("");
    let mut ada = site.browser();
    ada.visit(MESSAGES.iter().fold(ok(), |reply, message| reply.say("Flash", message)));
    for expected in [MESSAGES.join("&"), [MESSAGES[1], MESSAGES[0]].join("&")] {
        let reading = ada.ask(&get("/").with("Sec-Purpose", "prefetch"), ok()).seen;
        assert_eq!(reading.told("Flashes"), expected, "{language}");
        let mut command = Command::new(program);
        command.args(arguments).current_dir(directory.path()).env("PYTHONIOENCODING", "utf-8");
        command.env("HTTP_X_SESSION_STATE", "live").env("HTTP_X_SESSION_FLASHES", reading.told("Flashes"));
        let output = command.output().expect(program);
        let (page, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && error.is_empty(), "{language}: {error}");
        let lines = page.lines().filter_map(|line| line.strip_prefix("X-Session-Flash: "));
        let reply = lines.fold(ok(), |reply, line| reply.say("Flash", line));
        assert_eq!(ada.visit(reply).seen.told("Flashes"), expected, "{language}");
    }
}

#[test]
fn php_passes_messages_on() {
    // F4, F6, F9
    let driver = "eval('namespace T; function header($line) { echo $line, \"\\n\"; } ?>' \
        . file_get_contents('snippet.php') . ' foreach (array_merge(cloakroom_flashes(\"cart\", \"warning\"), \
        cloakroom_flashes(\"\")) as $flash) { cloakroom_flash($flash[0], $flash[1], $flash[2]); }');";
    passes_messages_on("php", "snippet.php", "php", &["-d", "variables_order=EGPCS", "-r", driver]);
}

#[test]
fn perl_passes_messages_on() {
    // F4, F6, F9
    let driver = "do './snippet.pl'; print map { my $fields = $_->[2]; \
        session_flash($_->[0], $_->[1], map { ($_, $fields->{$_}) } sort keys %$fields) } \
        session_flashes('cart', 'warning'), session_flashes('');";
    passes_messages_on("perl", "snippet.pl", "perl", &["-e", driver]);
}

#[test]
fn python_passes_messages_on() {
    // F4, F6, F9
    let driver = "
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, '.')
from snippet import Session
session = Session(os.environ)
for level, text, fields in session.messages('cart', 'warning') + session.messages(''):
    session.flash(level, text, **fields)
for header in session.headers: print('%s: %s' % header)
";
    passes_messages_on("python", "snippet.py", "python3", &["-c", driver]);
}

#[test]
fn node_passes_messages_on() {
    // F4, F6, F9
    let driver = "
        const { Session } = require('./snippet.js');
        const sent = {};
        const response = { getHeader: (name) => sent[name], setHeader: (name, value) => { sent[name] = value; } };
        const session = new Session({ headers: { 'x-session-flashes': process.env.HTTP_X_SESSION_FLASHES } }, response);
        const picked = [...session.messages('cart', 'warning'), ...session.messages('')];
        for (const [level, text, fields] of picked) session.flash(level, text, fields);
        for (const value of sent['X-Session-Flash']) console.log('X-Session-Flash: ' + value);";
    passes_messages_on("node", "snippet.js", "node", &["-e", driver]);
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

/// A page with a clock, a session and a dialog of its own; prints what a person would see.
const PAGE: &str = r"
const vm = require('vm'), source = require('fs').readFileSync('snippet.html', 'utf8').match(/<script>([^]*)<\/script>/)[1];
const parts = {}, timers = [];
const part = (id) => parts[id] ||= { id, textContent: '', hidden: false, open: false, on: {},
    showModal() { this.open = true; }, close() { this.open = false; },
    addEventListener(event, act) { this.on[event] = act; } };
let now = 0, session = { state: 'live', idle_left: 1800, absolute_left: 40000 }, extended = 0;
const fetch = async (url) => {
    if (url === '/') { extended += 1; session.idle_left = 1800; return {}; }
    return { json: async () => ({ ...session }) };
};
const context = { document: { getElementById: part, addEventListener() {}, hidden: false }, fetch, Date: { now: () => now },
    setTimeout: (act, wait) => { timers.push({ act, at: now + wait }); return timers.length; }, clearTimeout() {}, Math };
const settle = () => new Promise(setImmediate);
const say = (what) => console.log(what + ': ' + (part('session-timeout').open ? 'open' : 'closed') + ', ' + session.state +
    ', ' + part('session-timeout-left').textContent);
// Lets time pass: each turn of the script's own timer.
const until = async (seconds) => {
    for (;;) {
        const next = timers.filter((timer) => timer.at <= seconds * 1000 && !timer.done).sort((a, b) => a.at - b.at)[0];
        if (!next) break;
        next.done = true;
        const passed = (next.at - now) / 1000;
        now = next.at;
        if (session.state === 'live') { session.idle_left -= passed; session.absolute_left -= passed; }
        if (session.idle_left < 0 || session.absolute_left < 0) session = { state: 'expired' };
        next.act();
        await settle(); await settle();
    }
};
(async () => {
    vm.runInNewContext(source, context);
    await settle(); await settle();
    say('at first');
    await until(1700);
    say('soon');
    part('session-timeout-stay').on.click();
    await settle(); await settle(); await settle(); await settle();
    console.log('extended: ' + extended);
    say('after that');
    await until(3600);
    say('in the end');
    console.log('text: ' + part('session-timeout-text').textContent);
    console.log('stay: ' + part('session-timeout-stay').hidden);
})();
";

#[test]
fn a_page_warns_before_a_timeout_and_offers_to_go_on() {
    // WCAG 2.2.1, 2.2.6
    let directory = tempfile::tempdir().expect("a directory of our own");
    let snippet = Command::new(env!("CARGO_BIN_EXE_cloakroom")).args(["snippet", "html"]).output();
    let html = String::from_utf8(snippet.expect("the program starts").stdout).expect("UTF-8");
    assert!(html.contains("role=\"alertdialog\"") && html.contains("aria-live") && html.contains("aria-describedby"));
    std::fs::write(directory.path().join("snippet.html"), html).expect("a file");
    let Ok(output) = Command::new("node").args(["-e", PAGE]).current_dir(directory.path()).output() else {
        eprintln!("node is not here: the page was not run");
        return;
    };
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    let expected = [
        "at first: closed, live, ",
        "soon: open, live, 2 minutes left.",
        "extended: 1",
        "after that: closed, live, 2 minutes left.",
        "in the end: open, expired, ",
        "text: Your session has ended. Reload the page to log in again. What you have not saved may be lost.",
        "stay: true",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}
