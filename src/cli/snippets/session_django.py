"""Sessions of Cloakroom in Django: save as cloakroom.py, and begin MIDDLEWARE with 'cloakroom.CloakroomMiddleware'.

django.contrib.sessions and its cookie are not needed. Django cannot repeat a header, and encodes raw text as MIME: all
pairs of one command are joined, and everything is percent-encoded. What changes a session must not be cached: leave
such pages out of the cache middleware.
"""
import re
from urllib.parse import quote, unquote

from django.http import HttpResponse


def pairs(header):
    items = (item.partition('=') for item in re.split(r'[&,]\s*', header) if item)
    return [(key, unquote(value)) for key, _, value in items]


def messages(header):
    """Level, text, and a dictionary of further fields of each."""
    items = [pairs(item.replace(';', '&')) for item in re.split(r'[&,]\s*', header) if item]
    return [(item[0][0], item[0][1], dict(item[1:])) for item in items]


class Session:
    """request.cloakroom"""

    def __init__(self, meta):
        self.data = dict(pairs(meta.get('HTTP_X_SESSION_DATA', '')))
        self.state = meta.get('HTTP_X_SESSION_STATE', 'none')        # none, live, expired, invalid
        self.user = unquote(meta.get('HTTP_X_SESSION_USER', ''))     # who logged in, or ''
        self.flashes = messages(meta.get('HTTP_X_SESSION_FLASHES', ''))
        self.commands = {}

    def messages(self, in_list=None, level=None):
        """The messages for this page in a list ('' for those in none) and of a level."""
        return [flash for flash in self.flashes
                if in_list in (None, flash[2].get('list', '')) and level in (None, flash[0])]

    def _command(self, name, value):
        self.commands.setdefault('X-Session-' + name, []).append(value)

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


class CloakroomMiddleware:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        request.cloakroom = Session(request.META)
        response = self.get_response(request)
        for name, values in request.cloakroom.commands.items():
            response[name] = '&'.join(values)
        return response


def page(request):
    """A view that uses it."""
    session = request.cloakroom
    session.add('visits', 1)
    session.set('seen', session.data.get('name', 'café € 100%'))     # any text: it is encoded
    if session.state == 'none':
        session.flash('info', 'Welcome.')
    lines = ['state: ' + session.state, 'user: ' + session.user]
    lines += ['%s: %s' % pair for pair in session.data.items()]
    lines += ['[%s] %s' % flash[:2] for flash in session.flashes]
    return HttpResponse('\n'.join(lines + ['']), content_type='text/plain; charset=utf-8')
