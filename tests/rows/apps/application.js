// A page that says what it is told to say, and shows what it saw of the session. session.js is the snippet for Node.
'use strict';
const fs = require('fs');
const { Session } = require('./session.js');

const moment = () => new Promise((resolve) => setTimeout(resolve, 2));

async function hold(path) {
  fs.writeFileSync(`${path}.here`, '');
  for (const until = Date.now() + 20000; !fs.existsSync(`${path}.go`) && Date.now() < until;) await moment();
}

function typed(text) {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString());
  } catch {
    return null;
  }
}

async function page(request, response) {
  const session = new Session(request, response);
  // "set=lang%3Dde&X-Session-Push=seen%3Da&status=303", from the address and from the body.
  let text = request.url.split('?')[1] || '';
  for await (const chunk of request) text += `&${chunk}`;
  let type = 'text/html; charset=utf-8';
  let trailer = null;
  let shown = session.messages();
  for (const item of text.split('&').filter(Boolean)) {
    const [, name, value] = /^([^=]*)=?(.*)$/.exec(item).map(decodeURIComponent);
    const [, key, rest] = /^([^=]*)=?([^]*)$/.exec(value);
    if (name === 'set' || name === 'add' || name === 'flash') session[name](key, rest);
    else if (name === 'unset' || name === 'login' || name === 'destroy') session[name](value);
    else if (name === 'status') response.statusCode = Number(value);
    else if (name === 'type') type = value;
    else if (name === 'show') shown = session.messages(value);
    else if (name === 'hold') await hold(value);
    else if (name === 'trailer') trailer = value;
    else if (name.startsWith('X-Session-')) session.command(name.slice(10), value);
    else if (name.includes('-')) response.setHeader(name, [].concat(response.getHeader(name) || [], value));
  }
  const sent = {};
  for (const [name, value] of Object.entries(request.headers)) sent[`HTTP_${name.toUpperCase().replace(/-/g, '_')}`] = value;
  const { state, user, data } = session;
  const json = typed(request.headers['x-session-data'] || '');
  response.setHeader('Content-Type', type);
  if (trailer !== null) {
    response.setHeader('Trailer', 'X-Session-Set');
    response.addTrailers({ 'X-Session-Set': trailer });
  }
  response.end(JSON.stringify({ state, user, data, flashes: shown, sent, target: request.url, json }));
}

require('http').createServer(page).listen(Number(process.argv[2]), '127.0.0.1');
