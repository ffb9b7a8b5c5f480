// An application with sessions as Express keeps them: a signed id in `connect.sid`, rolling, saved in memory.
'use strict';
const { createHmac, randomBytes } = require('node:crypto');
const { createServer } = require('node:http');

const SECRET = 'keyboard cat';
const sessions = new Map();
const sign = (id) => `s:${id}.${createHmac('sha256', SECRET).update(id).digest('base64').replace(/=+$/, '')}`;

function idOf(header = '') {
  const found = header.split(';').map((pair) => pair.trim()).find((pair) => pair.startsWith('connect.sid='));
  const value = found && decodeURIComponent(found.slice('connect.sid='.length));
  const id = value && value.slice(2, value.lastIndexOf('.'));
  return id && value === sign(id) ? id : undefined;
}

createServer((request, response) => {
  let body = '';
  request.on('data', (part) => { body += part; });
  request.on('end', () => {
    let id = idOf(request.headers.cookie);
    if (request.url === '/login') {
      sessions.delete(id);
      id = randomBytes(24).toString('base64url');
      sessions.set(id, { user: new URLSearchParams(body).get('user'), seen: 0 });
    } else if (request.url === '/logout') {
      sessions.delete(id);
      response.setHeader('Set-Cookie', 'connect.sid=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT');
    }
    const known = sessions.get(id);
    if (known) {
      known.seen += 1;
      const expires = new Date(Date.now() + 3600000).toUTCString();
      const value = encodeURIComponent(sign(id));
      response.setHeader('Set-Cookie', `connect.sid=${value}; Path=/; Expires=${expires}; HttpOnly`);
    }
    response.setHeader('Content-Type', 'text/plain');
    response.end(`user=${known ? known.user : 'nobody'} seen=${known ? known.seen : 0}`);
  });
}).listen(Number(process.argv[2]), '127.0.0.1');
