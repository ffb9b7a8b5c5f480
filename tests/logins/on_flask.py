"""A login of Flask with its extension Flask-Login, as its documentation shows them: the session is a signed cookie."""
import sys

from flask import Flask, Response, request, session
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from werkzeug.serving import WSGIRequestHandler, make_server

app = Flask(__name__)
app.secret_key = "tests/logins"
logins = LoginManager(app)
SEEN = {}


class User(UserMixin):
    def __init__(self, name):
        self.id = name


@logins.user_loader
def load(name):
    return User(name)


def page():
    user = current_user.id if current_user.is_authenticated else "nobody"
    session["seen"] = session.get("seen", 0) + 1
    return Response(f"user={user} seen={session['seen']}", mimetype="text/plain")


@app.get("/")
def look():
    return page()


@app.post("/login")
def log_in():
    session.clear()
    login_user(User(request.form["user"]), remember=True)
    return page()


@app.get("/logout")
def log_out():
    logout_user()
    return Response("user=nobody seen=0", mimetype="text/plain")


class Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass


make_server("127.0.0.1", int(sys.argv[1]), app, request_handler=Quiet).serve_forever()
