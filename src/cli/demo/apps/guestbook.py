#!/usr/bin/env python3
# Guest book: a small application of the old kind. Its sessions are kept by Cloakroom, the proxy in front of it.
#
#     GUESTBOOK_DIR=/some/directory python3 guestbook.py 9000
#
# There is no session library here and no cookie. The session comes with each request in headers named X-Session-*, and
# is changed by response headers named X-Session-*. All of it is in the first three functions.
import fcntl
import os
import re
import sys
import time
from html import escape
from socketserver import ThreadingMixIn
from urllib.parse import parse_qs, parse_qsl, quote, unquote_plus
from wsgiref.simple_server import WSGIServer, make_server

HERE = os.path.dirname(os.path.abspath(__file__))
BOOK = os.path.join(os.environ.get('GUESTBOOK_DIR') or HERE, 'guestbook.txt')
ITEMS = ['tea', 'cake', 'book']


# ---- The session as Cloakroom sent it. Values are percent-encoded, so parse_qsl() and unquote_plus() read them. ------
def session(environ):
    state = environ.get('HTTP_X_SESSION_STATE')                         # none, live, expired ...; absent: no Cloakroom
    user = unquote_plus(environ.get('HTTP_X_SESSION_USER', ''))         # who logged in
    data = dict(parse_qsl(environ.get('HTTP_X_SESSION_DATA', ''), True))        # name=ada&visits=3
    flashes = []                                                        # success=Thank%20you;said=...&info=...
    for item in environ.get('HTTP_X_SESSION_FLASHES', '').split('&'):
        fields = parse_qsl(item.replace(';', '&'), True)
        if fields:
            level, text = fields[0]
            flashes.append((level, text, dict(fields).get('said', '')))
    return state, user, data, flashes


# ---- The session as we change it: one response header a command, every value through encode(). -----------------------
def encode(value):
    return quote(value, safe='')


# Answers a form: sends the visitor back to the page, with a message that Cloakroom keeps until the page asks for it.
# The field `said` is our own: it lets the page show what this answer carried.
def back(level, text, *commands):
    flash = f'{level}={encode(text)}'
    said = raw([*commands, ('X-Session-Flash', f'{flash};said=...')])
    flash += ';said=' + encode(said[:400])
    return '303 See Other', [*commands, ('X-Session-Flash', flash), ('Location', './')], ''


# ---- The application -------------------------------------------------------------------------------------------------
def raw(headers):
    return '\n'.join(f'{name}: {value}' for name, value in headers)


def refuse(status, *headers):
    return status, [('Content-Type', 'text/plain; charset=utf-8'), *headers], status[:3] + '\n'


# The lines of the book, newest first, each "time TAB name TAB message".
def entries():
    try:
        with open(BOOK, encoding='utf-8', errors='replace') as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            return file.read().strip('\n').split('\n')
    except OSError:
        return []


def sign(name, message):
    with open(os.open(BOOK, os.O_RDWR | os.O_CREAT, 0o644), 'r+', encoding='utf-8', errors='replace') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        lines = [f'{int(time.time())}\t{name}\t{message}', *file.read().strip('\n').split('\n')]
        file.seek(0)
        file.truncate()
        file.write('\n'.join(lines[:50]) + '\n')


def submit(path, body):
    form = parse_qs(body)

    # A field of the form: one line, not longer than `limit` characters.
    def field(name, limit):
        return re.sub('[\x00-\x20\x7f]+', ' ', form.get(name, [''])[-1]).strip(' ')[:limit]

    if path == '/sign':
        name, message = field('name', 20), field('message', 280)
        if not name or not message:
            return back('error', 'Please give a name and a message.')
        try:
            sign(name, message)
        except OSError:
            return back('error', 'The guest book cannot be written.')
        return back('success', 'Thank you', ('X-Session-Set', f'name={encode(name)}'))
    if path == '/login':
        user = field('user', 20)
        if not user or field('password', 20) != 'coat':
            return back('error', 'Wrong user or password.')
        return back('success', f'Welcome, {user}',
                    ('X-Session-Login', encode(user)),                  # a new session id, bound to this user
                    ('X-Session-Set', f'user={encode(user)}'))
    if path == '/logout':
        return back('info', 'You are logged out.', ('X-Session-Destroy', '1'))
    if path == '/cart':
        item = field('item', 20)
        if item not in ITEMS:
            return back('error', 'We do not sell that.')
        return back('success', f'One {item} for you',
                    ('X-Session-Add', f'cart_{item}=1'))                # added in the store: no click is ever lost
    return back('info', 'The cart is empty.', ('X-Session-Unset', ', '.join(f'cart_{item}' for item in ITEMS)))


def answer(environ):
    method, path = environ['REQUEST_METHOD'], environ['PATH_INFO']
    if path not in ['/', '/sign', '/login', '/logout', '/cart', '/empty']:
        return refuse('404 Not Found')
    allowed = ['GET', 'HEAD'] if path == '/' else ['POST']
    if method not in allowed:
        return refuse('405 Method Not Allowed', ('Allow', ', '.join(allowed)))
    length = environ.get('CONTENT_LENGTH') or '0'
    body = environ['wsgi.input'].read(min(int(length), 1 << 20)) if length.isdecimal() else b''
    if len(body) > 65536:
        return refuse('413 Content Too Large')
    if method == 'POST':
        return submit(path, body.decode('ascii', 'replace'))
    said = [('X-Session-Add', 'visits=1')] if method == 'GET' else []
    return '200 OK', [*said, ('Content-Type', 'text/html; charset=utf-8')], page(environ, said)


def application(environ, start_response):
    status, headers, body = answer(environ)
    body = body.encode('utf-8')
    start_response(status, [*headers, ('Content-Length', str(len(body)))])
    return [] if environ['REQUEST_METHOD'] == 'HEAD' else [body]


def number(text):
    return int(text) if text.isdecimal() else 0


def page(environ, said):
    state, user, data, flashes = session(environ)
    received = sorted((name[5:].replace('_', '-').title(), value.encode('latin-1').decode('utf-8', 'replace'))
                      for name, value in environ.items() if name.startswith('HTTP_X_SESSION_'))
    with open(os.path.join(HERE, 'style.css'), encoding='utf-8') as file:
        style = file.read()
    session_chip = '' if state is None else f'''
<span class="chip">session: {escape(state)}</span>'''
    note = '' if state is not None else '''
<p class="flash">Cloakroom is not in front of this application: the request came without <code>X-Session-State</code>.
The guest book works, but nobody remembers you. Please open the address on which Cloakroom listens.</p>'''
    messages = ''.join(f'''
<p class="flash {escape(level)}" role="status">{escape(text)}</p>''' for level, text, _ in flashes)
    book = ''.join(f'''
<div class="entry"><p>{escape(message)}</p>
<footer>{escape(name)}, {time.strftime('%Y-%m-%d %H:%M', time.gmtime(number(when)))} UTC</footer></div>'''
                   for when, name, message in (f'{line}\t\t'.split('\t')[:3] for line in filter(None, entries())))
    login = f'''<h2>Hello, {escape(user)}</h2>
<form method="post" action="logout"><button>Log out</button></form>''' if user else '''<h2>Log in</h2>
<form method="post" action="login">
<label>User <input name="user" maxlength="20" required autocomplete="username"></label>
<label>Password <input name="password" type="password" maxlength="20" required autocomplete="current-password"></label>
<div class="row"><button>Log in</button></div>
</form>
<p class="faint">Any user will do; the password is <b>coat</b>.</p>'''
    cart = ''.join(f'''
<button class="quiet" name="item" value="{item}">
{item}: <b>{number(data.get('cart_' + item, ''))}</b> +</button>''' for item in ITEMS)
    before = ''.join(f'''
<h3>and, just before, to your form</h3>
<pre>{escape(lines)}</pre>''' for _, _, lines in flashes if lines)
    return f'''<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Guest book</title>
<style>
{style}
</style>
</head>
<body>
<header>
<h1>Guest book</h1>
<span class="chip">Python WSGI</span>{session_chip}
<span class="chip">{f'logged in: <b>{escape(user)}</b>' if user else 'nobody is logged in'}</span>
</header>{note}{messages}
<main class="columns">
<section class="card">
<h2>Sign the book</h2>
<form method="post" action="sign">
<label>Your name <input name="name" maxlength="20" required value="{escape(data.get('name', user))}"></label>
<label>Your message <textarea name="message" maxlength="280" required></textarea></label>
<button>Sign</button>
</form>
</section>
<div class="stack">
<section class="card">
<h2>Your visits</h2>
<p class="big">{number(data.get('visits', '')) + 1}</p>
<p class="faint">Counted in your session, by the answer to this very page.</p>
</section>
<section class="card">
{login}
</section>
<section class="card">
<h2>Your cart</h2>
<form method="post" action="cart" class="row">{cart}
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
<pre>{escape(raw(received)) or '(nothing)'}</pre>
</div>
<div class="card">
<h3>What the backend answered</h3>
<pre>{escape(raw(said)) or '(nothing)'}</pre>{before}
</div>
</div>
</section>
<section class="wide card">
<h2>The book</h2>{book}
</section>
</body>
</html>
'''


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64


if __name__ == '__main__':
    make_server('127.0.0.1', int(sys.argv[1]), application, Server).serve_forever()
