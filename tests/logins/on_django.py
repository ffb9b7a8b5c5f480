"""A login of Django with all of its own: users, sessions in a database, and the token of its forms in a cookie."""
import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[2] + "/django.db"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="tests/logins",
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()

from django.contrib.auth import authenticate, login, logout  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.middleware.csrf import get_token  # noqa: E402
from django.urls import path  # noqa: E402


def page(request):
    request.session["seen"] = seen = request.session.get("seen", 0) + 1
    user = request.user.username or "nobody"
    return HttpResponse(f"user={user} seen={seen} csrf={get_token(request)}", content_type="text/plain")


def log_in(request):
    name = request.POST["user"]
    login(request, authenticate(request, username=name, password=name))
    return page(request)


def log_out(request):
    logout(request)
    return HttpResponse("user=nobody seen=0", content_type="text/plain")


urlpatterns = [path("", page), path("login", log_in), path("logout", log_out)]


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


call_command("migrate", verbosity=0)
for name in ("ada", "eve"):
    User.objects.create_user(name, password=name)
make_server("127.0.0.1", int(sys.argv[1]), get_wsgi_application(), handler_class=Quiet).serve_forever()
