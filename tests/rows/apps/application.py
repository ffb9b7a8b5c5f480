"""A page that says what it is told to say, and shows what it saw of the session. session.py is the snippet for Python."""
import base64
import json
import os
import socketserver
import sys
import time
from urllib.parse import unquote
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from session import Session


def items(environ):
    """set=lang%3Dde&X-Session-Push=seen%3Da&status=303, from the address and from the body."""
    body = environ['wsgi.input'].read(int(environ.get('CONTENT_LENGTH') or 0)).decode('ascii')
    texts = (environ.get('QUERY_STRING', '') + '&' + body).split('&')
    return [tuple(map(unquote, text.partition('=')[::2])) for text in texts if text]


def hold(path):
    open(path + '.here', 'w').close()
    until = time.monotonic() + 20
    while not os.path.exists(path + '.go') and time.monotonic() < until:
        time.sleep(0.002)


def typed(text):
    try:
        return json.loads(base64.urlsafe_b64decode(text + '=' * (-len(text) % 4)))
    except ValueError:
        return None


def application(environ, start_response):
    session = Session(environ)
    status, kind, headers, shown = '200', 'text/html; charset=utf-8', [], session.messages()
    for name, value in items(environ):
        key, _, rest = value.partition('=')
        if name in ('set', 'flash'):
            getattr(session, name)(key, rest)
        elif name == 'add':
            session.add(key, int(rest))
        elif name in ('unset', 'login', 'destroy'):
            getattr(session, name)(value)
        elif name == 'status':
            status = value
        elif name == 'type':
            kind = value
        elif name == 'show':
            shown = session.messages(value)
        elif name == 'hold':
            hold(value)
        elif '-' in name:
            headers.append((name, value))
    start_response(status + ' Told', [('Content-Type', kind)] + headers + session.headers)
    if environ['REQUEST_METHOD'] == 'HEAD' or status in ('204', '304'):
        return []
    sent = {name: value for name, value in environ.items() if name.startswith('HTTP_')}
    query = environ.get('QUERY_STRING') and '?' + environ['QUERY_STRING'] or ''
    saw = {'state': session.state, 'user': session.user, 'data': session.data, 'flashes': shown, 'sent': sent,
           'target': environ['PATH_INFO'] + query, 'json': typed(environ.get('HTTP_X_SESSION_DATA', ''))}
    return [json.dumps(saw).encode('ascii')]


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


make_server('127.0.0.1', int(sys.argv[1]), application, Server, Quiet).serve_forever()
