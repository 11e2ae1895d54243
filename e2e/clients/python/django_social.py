"""A site with social-auth-app-django and the backend for OpenID Connect of social-auth-core."""

from application import given, page
from django_application import account, button, configure, run

configure(
    apps=["social_django"],
    backend="social_core.backends.open_id_connect.OpenIdConnectAuth",
    SOCIAL_AUTH_OIDC_OIDC_ENDPOINT=given["issuer"],
    SOCIAL_AUTH_OIDC_KEY=given["client_id"],
    SOCIAL_AUTH_OIDC_SECRET=given["client_secret"],
    SOCIAL_AUTH_OIDC_SCOPE=["offline_access"],
)

from django.contrib.auth.views import LogoutView  # noqa: E402, the settings come first
from django.http import HttpResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from social_django.utils import load_strategy  # noqa: E402


def index(request):
    return account(request, button(request, "/login/oidc/", "Sign in"), "/logout/")


def refresh(request):
    kept = request.user.social_auth.get(provider="oidc")
    before = kept.access_token
    kept.refresh_token(load_strategy())
    kept.refresh_from_db()
    return HttpResponse(page({"refreshed": kept.access_token != before}, ""))


urlpatterns = [
    path("logout/", LogoutView.as_view(next_page="/")),
    path("refresh", refresh),
    path("", index),
    path("", include("social_django.urls", namespace="social")),
]

run()
