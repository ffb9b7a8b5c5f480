"""Sessions of Cloakroom in WSGI. No cookie: the session comes in request headers, and response headers change it.

Never put raw text into a header: WSGI servers refuse it, drop it, or answer 500. Everything here is percent-encoded.
"""
import hashlib
import hmac
import re
import time
from urllib.parse import quote, unquote


class Session:
    """The session of one request. `headers` collects the commands for start_response()."""

    def __init__(self, environ):
        get = environ.get
        self.data = dict(self._pairs(get('HTTP_X_SESSION_DATA', '')))
        self.state = get('HTTP_X_SESSION_STATE', 'none')             # none, live, expired, invalid
        self.user = unquote(get('HTTP_X_SESSION_USER', ''))          # who logged in, or ''
        # Messages for this page: level, text, and a dictionary of further fields.
        self.flashes = self._messages(get('HTTP_X_SESSION_FLASHES', ''))
        self.csrf = get('HTTP_X_SESSION_CSRF', '')                   # for a hidden field `csrf_token`
        self.headers = []
        if get('HTTP_X_SESSION_NONCE'):                              # this answer is to this request
            self._command('Nonce', get('HTTP_X_SESSION_NONCE'))
        self._environ = environ

    def is_proven(self, key, exposed=()):
        """Whether this request came through the proxy, a minute ago at most.

        `key` is the text of `headers.proof_key`; headers under names of their own (`expose`) are named by the caller:
        ['HTTP_X_REMOTE_USER'].
        """
        environ = self._environ
        proof = re.match(r't=(\d{1,12}),v1=([0-9a-f]{64})\Z', environ.get('HTTP_X_SESSION_PROOF', ''), re.ASCII)
        if not proof or abs(time.time() - int(proof.group(1))) > 60:
            return False
        names = [name for name in environ if name in exposed or
                 name.startswith('HTTP_X_SESSION_') and name != 'HTTP_X_SESSION_PROOF']
        lines = sorted(name[5:] + ':' + environ[name] for name in names)
        # As it came: uWSGI and mod_wsgi have it, and gunicorn. Elsewhere it is put together from what they decoded.
        query = environ.get('QUERY_STRING') and '?' + environ['QUERY_STRING'] or ''
        path = (environ.get('SCRIPT_NAME', '') + environ.get('PATH_INFO', '')).encode('latin-1')
        target = environ.get('REQUEST_URI') or environ.get('RAW_URI') or quote(path) + query
        request = ['v1', proof.group(1), environ['REQUEST_METHOD'], environ.get('HTTP_HOST', ''), target]
        text = '\n'.join(request + lines).encode('latin-1')
        own = hmac.new(key.encode(), text, hashlib.sha256).hexdigest()
        return hmac.compare_digest(own, proof.group(2))

    @staticmethod
    def _pairs(header):
        items = (item.partition('=') for item in re.split(r'[&,]\s*', header) if item)
        return [(key, unquote(value)) for key, _, value in items]

    @classmethod
    def _messages(cls, header):
        items = [cls._pairs(item.replace(';', '&')) for item in re.split(r'[&,]\s*', header) if item]
        return [(item[0][0], item[0][1], dict(item[1:])) for item in items]

    def messages(self, in_list=None, level=None):
        """The messages for this page in a list ('' for those in none) and of a level."""
        return [flash for flash in self.flashes
                if in_list in (None, flash[2].get('list', '')) and level in (None, flash[0])]

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

    def flash(self, level, text, **fields):
        """Shown by the next page. Further fields: title='Done', list='cart'."""
        pairs = [(level, text)] + [(key, value) for key, value in fields.items()]
        self._command('Flash', ';'.join(key + '=' + quote(value, safe='') for key, value in pairs))

    def flash_keep(self, which='1'):
        """What this page has not shown waits for the next one: '1', levels, or 'list=cart'."""
        self._command('Flash-Keep', which)

    def flash_read(self, which='1'):
        """What this answer has shown, although it is no page: as above."""
        self._command('Flash-Read', which)


def application(environ, start_response):
    """A page that uses it."""
    session = Session(environ)
    session.add('visits', 1)
    session.set('seen', session.data.get('name', 'café € 100%'))     # any text: it is encoded
    if session.state == 'none':
        session.flash('info', 'Welcome.')
    lines = ['state: ' + session.state, 'user: ' + session.user]
    lines += ['%s: %s' % pair for pair in session.data.items()]
    lines += ['[%s] %s' % flash[:2] for flash in session.flashes]
    start_response('200 OK', [('Content-Type', 'text/plain; charset=utf-8')] + session.headers)
    return ['\n'.join(lines + ['']).encode('utf-8')]


if __name__ == '__main__':
    from wsgiref.simple_server import make_server
    make_server('127.0.0.1', 9000, application).serve_forever()
