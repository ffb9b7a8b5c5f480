<?php
// Sessions of Cloakroom in PHP, 5.4 and later. No session_start(), no cookie: the session comes in request headers, and
// response headers change it.
//
// header() works only before any output, a blank line in front of <?php included: call the functions that change
// something first, or switch on output_buffering. Its second argument must be false, or a command replaces the one
// before it.

function cloakroom_header($name) {
    return isset($_SERVER["HTTP_X_SESSION_$name"]) ? $_SERVER["HTTP_X_SESSION_$name"] : '';
}

// "a=1&b=two%20words" as pairs. parse_str() would change dots in names and drop what comes after max_input_vars.
function cloakroom_pairs($header) {
    $pairs = array();
    foreach (preg_split('/[&,]\s*/', $header, -1, PREG_SPLIT_NO_EMPTY) as $item) {
        list($key, $value) = explode('=', "$item=", 3);
        $pairs[] = array($key, rawurldecode($value));
    }
    return $pairs;
}

// All data of the session; values are UTF-8 text.
function cloakroom_data() {
    $data = array();
    foreach (cloakroom_pairs(cloakroom_header('DATA')) as $pair) {
        $data[$pair[0]] = $pair[1];
    }
    return $data;
}

// none, live, expired or invalid; '' without the proxy in front.
function cloakroom_state() {
    return cloakroom_header('STATE');
}

// Who logged in, or ''.
function cloakroom_user() {
    return rawurldecode(cloakroom_header('USER'));
}

// Messages for this page: array(array('info', 'Saved.'), ...). What follows a ";" are further fields of the message.
function cloakroom_flashes() {
    return cloakroom_pairs(preg_replace('/;[^&,]*/', '', cloakroom_header('FLASHES')));
}

function cloakroom_command($name, $value) {
    header("X-Session-$name: $value", false);
}

function cloakroom_set($key, $value) {
    cloakroom_command('Set', $key . '=' . rawurlencode($value));
}

// Counted by the proxy: no update is lost.
function cloakroom_add($key, $number) {
    cloakroom_command('Add', $key . '=' . (int) $number);
}

// '*' drops everything.
function cloakroom_unset($key) {
    cloakroom_command('Unset', $key);
}

// A new id, and the old one is dead.
function cloakroom_login($user) {
    cloakroom_command('Login', rawurlencode($user));
}

// '1' this session, 'others', or 'all' of this user.
function cloakroom_destroy($scope = '1') {
    cloakroom_command('Destroy', $scope);
}

// Shown by the next page.
function cloakroom_flash($level, $text) {
    cloakroom_command('Flash', $level . '=' . rawurlencode($text));
}

// ---- A page that uses it -------------------------------------------------------------------------------------------
$session = cloakroom_data();
cloakroom_add('visits', 1);
cloakroom_set('seen', isset($session['name']) ? $session['name'] : 'café € 100%');    // any text: it is encoded
if (cloakroom_state() === 'none') {
    cloakroom_flash('info', 'Welcome.');
}

header('Content-Type: text/plain; charset=utf-8');
echo 'state: ', cloakroom_state(), "\n", 'user: ', cloakroom_user(), "\n";
foreach ($session as $key => $value) {
    echo "$key: $value\n";
}
foreach (cloakroom_flashes() as $flash) {
    echo "[$flash[0]] $flash[1]\n";
}
