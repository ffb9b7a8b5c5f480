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

// Messages for this page, each as level, text and further fields: array('info', 'Saved.', array('title' => 'Done')). All of
// them, or those in a list ('' for those in none) and of a level: cloakroom_flashes('cart', 'error').
function cloakroom_flashes($list = null, $level = null) {
    $flashes = array();
    foreach (preg_split('/[&,]\s*/', cloakroom_header('FLASHES'), -1, PREG_SPLIT_NO_EMPTY) as $item) {
        $pairs = cloakroom_pairs(str_replace(';', '&', $item));
        list($flash, $fields) = array(array_shift($pairs), array());
        foreach ($pairs as $pair) {
            $fields[$pair[0]] = $pair[1];
        }
        $own = isset($fields['list']) ? $fields['list'] : '';
        if (($list === null || $list === $own) && ($level === null || $level === $flash[0])) {
            $flashes[] = array($flash[0], $flash[1], $fields);
        }
    }
    return $flashes;
}

// The token of this session's forms, for a hidden field `csrf_token`; '' where `headers.csrf` is off.
function cloakroom_csrf() {
    return cloakroom_header('CSRF');
}

// Whether this request came through the proxy, a minute ago at most. $key is the text of `headers.proof_key`; headers
// under names of their own (`expose`) are named by the caller: array('HTTP_X_REMOTE_USER').
function cloakroom_is_proven($key, $exposed = array()) {
    $is_proof = preg_match('/^t=(\d{1,12}),v1=([0-9a-f]{64})$/D', cloakroom_header('PROOF'), $proof);
    if (!$is_proof || abs(time() - $proof[1]) > 60) {
        return false;
    }
    $lines = array();
    foreach ($_SERVER as $name => $value) {
        if (preg_match('/^HTTP_X_SESSION_(?!PROOF$)/D', $name) || in_array($name, $exposed, true)) {
            $lines[] = substr($name, 5) . ":$value";
        }
    }
    sort($lines, SORT_STRING);
    $host = isset($_SERVER['HTTP_HOST']) ? $_SERVER['HTTP_HOST'] : '';
    array_unshift($lines, 'v1', $proof[1], $_SERVER['REQUEST_METHOD'], $host, $_SERVER['REQUEST_URI']);
    $own = hash_hmac('sha256', implode("\n", $lines), $key);
    // Compared like this, the time it takes says nothing.
    return hash_hmac('sha256', $own, $key) === hash_hmac('sha256', $proof[2], $key);
}

function cloakroom_command($name, $value) {
    header("X-Session-$name: $value", false);
    if (cloakroom_header('NONCE') !== '') {
        header('X-Session-Nonce: ' . cloakroom_header('NONCE'));    // this answer is to this request
    }
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

// Shown by the next page. Further fields: array('title' => 'Done', 'list' => 'cart').
function cloakroom_flash($level, $text, $fields = array()) {
    $value = $level . '=' . rawurlencode($text);
    foreach ($fields as $key => $field) {
        $value .= ";$key=" . rawurlencode($field);
    }
    cloakroom_command('Flash', $value);
}

// What this page has not shown waits for the next one: '1', levels, or 'list=cart'.
function cloakroom_flash_keep($which = '1') {
    cloakroom_command('Flash-Keep', $which);
}

// What this answer has shown, although it is no page: as above.
function cloakroom_flash_read($which = '1') {
    cloakroom_command('Flash-Read', $which);
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
