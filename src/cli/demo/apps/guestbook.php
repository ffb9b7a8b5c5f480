<?php
// Guest book: a small application of the old kind. Its sessions are kept by Cloakroom, the proxy in front of it.
//
//     GUESTBOOK_DIR=/some/directory php -S 127.0.0.1:9000 guestbook.php
//
// There is no session_start() here and no cookie. The session comes with each request in headers named X-Session-*,
// and is changed by response headers named X-Session-*. All of it is in the next thirty lines.

// ---- The session as Cloakroom sent it. Values are percent-encoded, so parse_str() and urldecode() read them. --------
$state = $_SERVER['HTTP_X_SESSION_STATE'] ?? null;              // none, live, expired ...; absent: no Cloakroom
$user = urldecode($_SERVER['HTTP_X_SESSION_USER'] ?? '');       // who logged in
parse_str($_SERVER['HTTP_X_SESSION_DATA'] ?? '', $session);     // name=ada&visits=3
$flashes = [];                                                  // success=Thank%20you;said=...&info=...
foreach (array_filter(explode('&', $_SERVER['HTTP_X_SESSION_FLASHES'] ?? '')) as $item) {
    parse_str(strtr($item, ';', '&'), $fields);
    if ($fields) {
        $flashes[] = ['level' => key($fields), 'text' => reset($fields), 'said' => $fields['said'] ?? ''];
    }
}

// ---- The session as we change it: one response header a command, every value through rawurlencode(). ----------------
// ---- The second argument of header() must be false, or a command replaces the one before it. ------------------------
$said = [];
function command($line) {
    global $said;
    header($said[] = $line, false);
}

// Answers a form: sends the visitor back to the page, with a message that Cloakroom keeps until the page asks for it.
// The field `said` is our own: it lets the page show what this answer carried.
function back($level, $text) {
    global $said;
    $flash = "X-Session-Flash: $level=" . rawurlencode($text);
    $lines = implode("\n", array_merge($said, ["$flash;said=..."]));
    command("$flash;said=" . rawurlencode(substr($lines, 0, 400)));
    header('Location: ./', true, 303);
    exit;
}

// ---- The application ------------------------------------------------------------------------------------------------
const ITEMS = ['tea', 'cake', 'book'];
define('BOOK', (getenv('GUESTBOOK_DIR') ?: __DIR__) . '/guestbook.txt');

function refuse($status) {
    http_response_code($status);
    header('Content-Type: text/plain; charset=utf-8');
    exit("$status\n");
}

// A field of the form: one line of valid UTF-8, not longer than $max characters.
function field($name, $max) {
    $value = $_POST[$name] ?? '';
    $value = is_string($value) ? preg_replace('/[\x00-\x20\x7f]+/u', ' ', $value) : '';
    preg_match("/^.{0,$max}/u", trim((string) $value), $match);
    return $match[0];
}

// The lines of the book, newest first, each "time TAB name TAB message".
function entries() {
    $file = @fopen(BOOK, 'r');
    return $file && flock($file, LOCK_SH) ? array_filter(explode("\n", stream_get_contents($file))) : [];
}

function sign($name, $message) {
    $file = @fopen(BOOK, 'c+');
    if (!$file || !flock($file, LOCK_EX)) {
        return false;
    }
    $lines = array_merge([time() . "\t$name\t$message"], explode("\n", trim(stream_get_contents($file))));
    rewind($file);
    ftruncate($file, 0);
    return fwrite($file, implode("\n", array_slice($lines, 0, 50)) . "\n") && fclose($file);
}

function h($text) {
    return htmlspecialchars($text, ENT_QUOTES | ENT_SUBSTITUTE, 'UTF-8');
}

$method = $_SERVER['REQUEST_METHOD'];
$path = strtok($_SERVER['REQUEST_URI'], '?');
if (!in_array($path, ['/', '/sign', '/login', '/logout', '/cart', '/empty'])) {
    refuse(404);
}
$allowed = $path === '/' ? ['GET', 'HEAD'] : ['POST'];
if (!in_array($method, $allowed)) {
    header('Allow: ' . implode(', ', $allowed));
    refuse(405);
}
if ((int) ($_SERVER['CONTENT_LENGTH'] ?? 0) > 65536) {
    refuse(413);
}

switch ($path) {
    case '/sign':
        $name = field('name', 20);
        $message = field('message', 280);
        if ($name === '' || $message === '') {
            back('error', 'Please give a name and a message.');
        }
        if (!sign($name, $message)) {
            back('error', 'The guest book cannot be written.');
        }
        command('X-Session-Set: name=' . rawurlencode($name));
        back('success', 'Thank you');
    case '/login':
        $user = field('user', 20);
        if ($user === '' || field('password', 20) !== 'coat') {
            back('error', 'Wrong user or password.');
        }
        command('X-Session-Login: ' . rawurlencode($user));     // a new session id, bound to this user
        command('X-Session-Set: user=' . rawurlencode($user));
        back('success', "Welcome, $user");
    case '/logout':
        command('X-Session-Destroy: 1');
        back('info', 'You are logged out.');
    case '/cart':
        $item = field('item', 20);
        if (!in_array($item, ITEMS)) {
            back('error', 'We do not sell that.');
        }
        command("X-Session-Add: cart_$item=1");                 // added in the store: no click is ever lost
        back('success', "One $item for you");
    case '/empty':
        command('X-Session-Unset: cart_' . implode(', cart_', ITEMS));
        back('info', 'The cart is empty.');
}

if ($method === 'GET') {
    command('X-Session-Add: visits=1');
}
header('Content-Type: text/html; charset=utf-8');
$visits = (int) ($session['visits'] ?? 0) + 1;
$received = [];
foreach (getallheaders() as $name => $value) {
    if (stripos($name, 'X-Session-') === 0) {
        $received[] = "$name: $value";
    }
}
sort($received);
?>
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Guest book</title>
<style>
<?php readfile(__DIR__ . '/style.css') ?>
</style>
</head>
<body>
<header>
<h1>Guest book</h1>
<span class="chip">PHP</span>
<?php if ($state !== null): ?>
<span class="chip">session: <?= h($state) ?></span>
<?php endif ?>
<span class="chip"><?= $user === '' ? 'nobody is logged in' : 'logged in: <b>' . h($user) . '</b>' ?></span>
</header>
<?php if ($state === null): ?>
<p class="flash">Cloakroom is not in front of this application: the request came without <code>X-Session-State</code>.
The guest book works, but nobody remembers you. Please open the address on which Cloakroom listens.</p>
<?php endif ?>
<?php foreach ($flashes as $flash): ?>
<p class="flash <?= h($flash['level']) ?>" role="status"><?= h($flash['text']) ?></p>
<?php endforeach ?>
<main class="columns">
<section class="card">
<h2>Sign the book</h2>
<form method="post" action="sign">
<label>Your name <input name="name" maxlength="20" required value="<?= h($session['name'] ?? $user) ?>"></label>
<label>Your message <textarea name="message" maxlength="280" required></textarea></label>
<button>Sign</button>
</form>
</section>
<div class="stack">
<section class="card">
<h2>Your visits</h2>
<p class="big"><?= $visits ?></p>
<p class="faint">Counted in your session, by the answer to this very page.</p>
</section>
<section class="card">
<?php if ($user === ''): ?>
<h2>Log in</h2>
<form method="post" action="login">
<label>User <input name="user" maxlength="20" required autocomplete="username"></label>
<label>Password <input name="password" type="password" maxlength="20" required autocomplete="current-password"></label>
<div class="row"><button>Log in</button></div>
</form>
<p class="faint">Any user will do; the password is <b>coat</b>.</p>
<?php else: ?>
<h2>Hello, <?= h($user) ?></h2>
<form method="post" action="logout"><button>Log out</button></form>
<?php endif ?>
</section>
<section class="card">
<h2>Your cart</h2>
<form method="post" action="cart" class="row">
<?php foreach (ITEMS as $item): ?>
<button class="quiet" name="item" value="<?= $item ?>">
<?= $item ?>: <b><?= (int) ($session["cart_$item"] ?? 0) ?></b> +</button>
<?php endforeach ?>
</form>
<form method="post" action="empty" class="row"><button class="quiet">Empty the cart</button></form>
</section>
</div>
</main>
<section class="wide">
<h2>Both sides of this exchange</h2>
<div class="columns">
<div class="card">
<h3>What Cloakroom sent</h3>
<pre><?= h(implode("\n", $received) ?: '(nothing)') ?></pre>
</div>
<div class="card">
<h3>What the backend answered</h3>
<pre><?= h(implode("\n", $said) ?: '(nothing)') ?></pre>
<?php foreach ($flashes as $flash): if ($flash['said'] !== ''): ?>
<h3>and, just before, to your form</h3>
<pre><?= h($flash['said']) ?></pre>
<?php endif; endforeach ?>
</div>
</div>
</section>
<section class="wide card">
<h2>The book</h2>
<?php foreach (entries() as $line): list($time, $name, $message) = explode("\t", "$line\t\t"); ?>
<div class="entry"><p><?= h($message) ?></p>
<footer><?= h($name) ?>, <?= gmdate('Y-m-d H:i', (int) $time) ?> UTC</footer></div>
<?php endforeach ?>
</section>
</body>
</html>
