"""An application that keeps its own sessions, with nothing but the standard library."""
import secrets
import sys
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

SESSIONS = {}


class Application(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer({})

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        self.answer(parse_qs(self.rfile.read(length).decode()))

    def answer(self, form):
        came = SimpleCookie(self.headers.get("Cookie", ""))
        sid = came["sessionid"].value if "sessionid" in came else None
        known = SESSIONS.get(sid)
        cookie = SimpleCookie()
        if self.path == "/login":
            SESSIONS.pop(sid, None)
            sid = secrets.token_hex(16)
            known = SESSIONS[sid] = {"user": form["user"][0], "seen": 0}
            cookie["sessionid"] = sid
            cookie["sessionid"].update({"path": "/", "max-age": 1209600, "httponly": True, "samesite": "Lax"})
            cookie["theme"] = "dark,\u00e9"
            cookie["theme"]["path"] = "/"
        elif self.path == "/logout":
            SESSIONS.pop(sid, None)
            known = None
            for name in ("sessionid", "theme"):
                cookie[name] = ""
                cookie[name].update({"path": "/", "expires": "Thu, 01 Jan 1970 00:00:00 GMT", "max-age": 0})
        if known:
            known["seen"] += 1
        theme = came["theme"].value if "theme" in came else "none"
        user, seen = (known["user"], known["seen"]) if known else ("nobody", 0)
        body = f"user={user} seen={seen} theme={theme}".encode()
        self.send_response(200)
        for morsel in cookie.values():
            self.send_header("Set-Cookie", morsel.OutputString())
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


HTTPServer(("127.0.0.1", int(sys.argv[1])), Application).serve_forever()
