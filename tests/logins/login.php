<?php
// An application with the sessions of PHP, as its manual shows them.
session_start();
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if ($path === '/login') {
    session_regenerate_id(true);
    $_SESSION['user'] = $_POST['user'];
} elseif ($path === '/logout') {
    $_SESSION = [];
    $at = session_get_cookie_params();
    setcookie(session_name(), '', time() - 42000, $at['path'], $at['domain'], $at['secure'], $at['httponly']);
    session_destroy();
}
$_SESSION['seen'] = ($_SESSION['seen'] ?? 0) + 1;
header('Content-Type: text/plain');
echo 'user=', $_SESSION['user'] ?? 'nobody', ' seen=', $_SESSION['seen'], ' id=', session_id();
