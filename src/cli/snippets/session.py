"""Sessions of Cloakroom in WSGI. No cookie: the session comes in request headers, and response headers change it.

Never put raw text into a header: WSGI servers refuse it, drop it, or answer 500. Everything here is percent-encoded.
"""
import re
from urllib.parse import quote, unquote


class Session:
    """The session of one request. `headers` collects the commands for start_response()."""

    def __init__(self, environ):
        get = environ.get
        self.data = dict(self._pairs(get('HTTP_X_SESSION_DATA', '')))
        self.state = get('HTTP_X_SESSION_STATE', 'none')             # none, live, expired, invalid
        self.user = unquote(get('HTTP_X_SESSION_USER', ''))          # who logged in, or ''
        # What follows a ";" are further fields of the message.
        self.flashes = self._pairs(re.sub(';[^&,]*', '', get('HTTP_X_SESSION_FLASHES', '')))
        self.headers = []

    @staticmethod
    def _pairs(header):
        items = (item.partition('=') for item in re.split(r'[&,]\s*', header) if item)
        return [(key, unquote(value)) for key, _, value in items]

    def _command(self, name, value):
        self.headers.append(('X-Session-' + name, value))

    def set(self, key, value):
        self._command('Set', key + '=' + quote(value, safe=''))

    def add(self, key, number):
        """Counted by the proxy: no update is lost."""
        self._command('Add', '%s=%d' % (key, number))

    def unset(self, *keys):
        """'*' drops everything."""
        self._command('Unset', '&'.join(keys))

    def login(self, user):
        """A new id, and the old one is dead."""
        self._command('Login', quote(user, safe=''))

    def destroy(self, scope='1'):
        """'1' this session, 'others', or 'all' of this user."""
        self._command('Destroy', scope)

    def flash(self, level, text):
        """Shown by the next page."""
        self._command('Flash', level + '=' + quote(text, safe=''))


def application(environ, start_response):
    """A page that uses it."""
    session = Session(environ)
    session.add('visits', 1)
    session.set('seen', session.data.get('name', 'café € 100%'))     # any text: it is encoded
    if session.state == 'none':
        session.flash('info', 'Welcome.')
    lines = ['state: ' + session.state, 'user: ' + session.user]
    lines += ['%s: %s' % pair for pair in session.data.items()]
    lines += ['[%s] %s' % flash for flash in session.flashes]
    start_response('200 OK', [('Content-Type', 'text/plain; charset=utf-8')] + session.headers)
    return ['\n'.join(lines + ['']).encode('utf-8')]


if __name__ == '__main__':
    from wsgiref.simple_server import make_server
    make_server('127.0.0.1', 9000, application).serve_forever()
