// Sessions of Cloakroom in Node, with or without Express. No cookie: the session comes in request headers, and
// response headers change it.
//
// Commands must be given before the first byte of the body. Never put raw text into a header: Node throws at a euro
// sign and sends an accent in whatever encoding the body has. Everything here is percent-encoded.
'use strict';
const crypto = require('crypto');

// "a=1&b=two%20words" as pairs.
function pairs(header) {
  return (header || '').split(/[&,]\s*/).filter(Boolean).map((item) => {
    const [, key, value] = /^([^=]*)=?(.*)$/.exec(item);
    return [key, decodeURIComponent(value)];
  });
}

// "info=Saved;title=Done&error=No" as messages: level, text, and an object of further fields.
function messages(header) {
  return (header || '').split(/[&,]\s*/).filter(Boolean).map((item) => {
    const [[level, text], ...fields] = pairs(item.replace(/;/g, '&'));
    return [level, text, Object.fromEntries(fields)];
  });
}

class Session {
  constructor(request, response) {
    const headers = request.headers;
    this.request = request;
    this.response = response;
    this.csrf = headers['x-session-csrf'] || '';                           // for a hidden field `csrf_token`
    this.data = Object.fromEntries(pairs(headers['x-session-data']));
    this.state = headers['x-session-state'] || 'none';                     // none, live, expired, invalid
    this.user = decodeURIComponent(headers['x-session-user'] || '');       // who logged in, or ''
    this.flashes = messages(headers['x-session-flashes']);                 // for this page
  }

  // The messages for this page in a list ('' for those in none) and of a level.
  messages(list, level) {
    const isOne = (wanted, own) => wanted === undefined || wanted === own;
    return this.flashes.filter(([own, , fields]) => isOne(list, fields.list || '') && isOne(level, own));
  }

  // Whether this request came through the proxy, a minute ago at most. `key` is the text of `headers.proof_key`; headers
  // under names of their own (`expose`) are named by the caller: ['x-remote-user'].
  isProven(key, exposed = []) {
    const { headers, method, originalUrl, url } = this.request;
    const proof = /^t=(\d{1,12}),v1=([0-9a-f]{64})$/.exec(headers['x-session-proof'] || '');
    if (!proof || Math.abs(Date.now() / 1000 - proof[1]) > 60) return false;
    const isOurs = (name) => exposed.includes(name) || (name.startsWith('x-session-') && name !== 'x-session-proof');
    const folded = (name) => name.toUpperCase().replace(/[^A-Z0-9]/g, '_');
    const lines = Object.keys(headers).filter(isOurs).map((name) => `${folded(name)}:${headers[name]}`).sort();
    const text = ['v1', proof[1], method, headers.host || '', originalUrl || url, ...lines].join('\n');
    const own = crypto.createHmac('sha256', key).update(text, 'latin1').digest();
    return crypto.timingSafeEqual(own, Buffer.from(proof[2], 'hex'));
  }

  command(name, value) {
    const nonce = this.request.headers['x-session-nonce'];
    if (nonce) this.response.setHeader('X-Session-Nonce', nonce);           // this answer is to this request
    const header = `X-Session-${name}`;
    const before = this.response.getHeader(header);
    this.response.setHeader(header, before === undefined ? [value] : [].concat(before, value));
  }

  set(key, value) { this.command('Set', `${key}=${encodeURIComponent(value)}`); }
  add(key, number) { this.command('Add', `${key}=${Math.trunc(number)}`); }               // counted by the proxy
  unset(...keys) { this.command('Unset', keys.join('&')); }                               // '*' drops everything
  login(user) { this.command('Login', encodeURIComponent(user)); }                        // a new id
  destroy(scope = '1') { this.command('Destroy', scope); }                                // '1', 'others' or 'all'
  // Shown by the next page. Further fields: { title: 'Done', list: 'cart' }.
  flash(level, text, fields = {}) {
    const pairs = [[level, text], ...Object.entries(fields)];
    this.command('Flash', pairs.map(([key, value]) => `${key}=${encodeURIComponent(value)}`).join(';'));
  }

  // What this page has not shown waits for the next one: '1', levels, or 'list=cart'.
  flashKeep(which = '1') { this.command('Flash-Keep', which); }

  // What this answer has shown, although it is no page: as above.
  flashRead(which = '1') { this.command('Flash-Read', which); }
}

// For Express: app.use(cloakroom), then request.cloakroom in every handler.
function cloakroom(request, response, next) {
  request.cloakroom = new Session(request, response);
  next();
}

// A page that uses it.
function page(request, response) {
  const session = new Session(request, response);
  session.add('visits', 1);
  session.set('seen', session.data.name || 'café € 100%');                 // any text: it is encoded
  if (session.state === 'none') session.flash('info', 'Welcome.');
  const lines = [`state: ${session.state}`, `user: ${session.user}`];
  for (const [key, value] of Object.entries(session.data)) lines.push(`${key}: ${value}`);
  for (const [level, text] of session.flashes) lines.push(`[${level}] ${text}`);
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.end(lines.join('\n') + '\n');
}

module.exports = { Session, cloakroom, page };
if (require.main === module) require('http').createServer(page).listen(9000, '127.0.0.1');
