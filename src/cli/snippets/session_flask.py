"""Sessions of Cloakroom in Flask. Flask's own session and its cookie are not used.

Never put raw text into a header: the server drops the connection. Everything here is percent-encoded. headers.add()
repeats a header; headers['X-Session-Set'] = ... would replace the command before it.
"""
import re
from urllib.parse import quote, unquote

from flask import Flask, g, request

app = Flask(__name__)


def pairs(header):
    items = (item.partition('=') for item in re.split(r'[&,]\s*', header) if item)
    return [(key, unquote(value)) for key, _, value in items]


def messages(header):
    """Level, text, and a dictionary of further fields of each."""
    items = [pairs(item.replace(';', '&')) for item in re.split(r'[&,]\s*', header) if item]
    return [(item[0][0], item[0][1], dict(item[1:])) for item in items]


@app.before_request
def read_session():
    get = request.headers.get
    g.session = dict(pairs(get('X-Session-Data', '')))
    g.session_state = get('X-Session-State', 'none')                 # none, live, expired, invalid
    g.session_user = unquote(get('X-Session-User', ''))              # who logged in, or ''
    g.session_flashes = messages(get('X-Session-Flashes', ''))
    g.session_commands = []


@app.after_request
def write_session(response):
    for name, value in g.session_commands:
        response.headers.add('X-Session-' + name, value)
    return response


def session_set(key, value):
    g.session_commands.append(('Set', key + '=' + quote(value, safe='')))


def session_add(key, number):                                        # counted by the proxy: no update is lost
    g.session_commands.append(('Add', '%s=%d' % (key, number)))


def session_unset(*keys):                                            # '*' drops everything
    g.session_commands.append(('Unset', '&'.join(keys)))


def session_login(user):                                             # a new id, and the old one is dead
    g.session_commands.append(('Login', quote(user, safe='')))


def session_destroy(scope='1'):                                      # '1' this session, 'others', 'all' of this user
    g.session_commands.append(('Destroy', scope))


def session_flash(level, text, **fields):
    """Shown by the next page. Further fields: title='Done', list='cart'."""
    items = [(level, text)] + list(fields.items())
    g.session_commands.append(('Flash', ';'.join(key + '=' + quote(value, safe='') for key, value in items)))


def session_flash_keep(which='1'):
    """What this page has not shown waits for the next one: '1', levels, or 'list=cart'."""
    g.session_commands.append(('Flash-Keep', which))


def session_messages(in_list=None, level=None):
    """The messages for this page in a list ('' for those in none) and of a level."""
    return [flash for flash in g.session_flashes
            if in_list in (None, flash[2].get('list', '')) and level in (None, flash[0])]


@app.route('/')
def page():
    """A page that uses it."""
    session_add('visits', 1)
    session_set('seen', g.session.get('name', 'café € 100%'))        # any text: it is encoded
    if g.session_state == 'none':
        session_flash('info', 'Welcome.')
    lines = ['state: ' + g.session_state, 'user: ' + g.session_user]
    lines += ['%s: %s' % pair for pair in g.session.items()]
    lines += ['[%s] %s' % flash[:2] for flash in g.session_flashes]
    return '\n'.join(lines + ['']), 200, {'Content-Type': 'text/plain; charset=utf-8'}


if __name__ == '__main__':
    app.run(port=9000)
