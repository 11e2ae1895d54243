"""A site of Django's in one file, as `startproject` makes it, with its accounts in memory. Owns its pages; which library
signs people in is its caller's."""

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.middleware.csrf import get_token

from application import page, serve

APPS = ["auth", "contenttypes", "sessions", "messages"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
CONTEXT = [
    "django.template.context_processors.request",
    "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
]


def configure(*, apps, backend, middleware=(), **more):
    """Adds a library to the site: its apps, its backend for authentication, its middleware and its settings."""
    settings.configure(
        SECRET_KEY="a secret of this application",
        ALLOWED_HOSTS=["localhost"],
        ROOT_URLCONF="__main__",
        INSTALLED_APPS=[f"django.contrib.{name}" for name in APPS] + apps,
        MIDDLEWARE=[*MIDDLEWARE, *middleware],
        AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.ModelBackend", backend],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {"context_processors": CONTEXT},
            }
        ],
        LOGIN_REDIRECT_URL="/",
        **more,
    )
    django.setup()


def button(request, to, word):
    """A form that posts nothing but its token."""
    token = f'<input type="hidden" name="csrfmiddlewaretoken" value="{get_token(request)}">'
    return f'<form method="post" action="{to}">{token}<button>{word}</button></form>'


def account(request, way_in, way_out):
    """The first page: the account of its visitor."""
    user = request.user
    if not user.is_authenticated:
        return HttpResponse(page({}, way_in))
    known = {"name": user.get_full_name(), "email": user.email, "username": user.username}
    return HttpResponse(page(known, button(request, way_out, "Sign out")))


def run():
    """Makes the tables, and serves the site."""
    call_command("migrate", verbosity=0)
    serve(get_wsgi_application())
