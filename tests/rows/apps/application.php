<?php
// A page that says what it is told to say, and shows what it saw of the session. session.php is the snippet for PHP.
require __DIR__ . '/session.php';

// "set=lang%3Dde&X-Session-Push=seen%3Da&status=303", from the address and from the body.
$items = array();
foreach (array(isset($_SERVER['QUERY_STRING']) ? $_SERVER['QUERY_STRING'] : '', file_get_contents('php://input')) as $text) {
    foreach (array_filter(explode('&', $text), 'strlen') as $item) {
        $items[] = array_map('rawurldecode', explode('=', "$item=", 3));
    }
}

$status = 200;
$type = 'text/html; charset=utf-8';
$shown = cloakroom_flashes();
foreach ($items as $item) {
    list($name, $value) = $item;
    $pair = explode('=', $value, 2);
    switch ($name) {
        case 'set': cloakroom_set($pair[0], $pair[1]); break;
        case 'add': cloakroom_add($pair[0], $pair[1]); break;
        case 'unset': cloakroom_unset($value); break;
        case 'login': cloakroom_login($value); break;
        case 'destroy': cloakroom_destroy($value); break;
        case 'flash': cloakroom_flash($pair[0], $pair[1]); break;
        case 'status': $status = (int) $value; break;
        case 'type': $type = $value; break;
        case 'show': $shown = cloakroom_flashes($value); break;
        case 'hold':
            touch("$value.here");
            for ($until = time() + 20; !file_exists("$value.go") && time() < $until; clearstatcache()) {
                usleep(2000);
            }
            break;
        default:
            if (strpos($name, '-') !== false) {
                header("$name: $value", false);
            }
    }
}

$sent = array();
foreach ($_SERVER as $name => $value) {
    if (strpos($name, 'HTTP_') === 0) {
        $sent[$name] = $value;
    }
}
$json = base64_decode(strtr(cloakroom_header('DATA'), '-_', '+/'));
$saw = array(
    'state' => cloakroom_state(),
    'user' => cloakroom_user(),
    'data' => (object) cloakroom_data(),
    'flashes' => $shown,
    'sent' => (object) $sent,
    'target' => $_SERVER['REQUEST_URI'],
    'json' => json_decode($json),
);
http_response_code($status);
header("Content-Type: $type");
if ($_SERVER['REQUEST_METHOD'] !== 'HEAD' && $status !== 204 && $status !== 304) {
    echo json_encode($saw, JSON_PARTIAL_OUTPUT_ON_ERROR);
}
