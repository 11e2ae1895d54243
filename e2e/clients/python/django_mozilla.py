"""A site with mozilla-django-oidc, which knows the provider's addresses by its settings. RS256 is chosen, for the library's
own choice is a key that both sides share."""

from application import given
from django_application import account, configure, run

issuer = given["issuer"]
configure(
    apps=["mozilla_django_oidc"],
    backend="mozilla_django_oidc.auth.OIDCAuthenticationBackend",
    OIDC_RP_CLIENT_ID=given["client_id"],
    OIDC_RP_CLIENT_SECRET=given["client_secret"],
    OIDC_OP_AUTHORIZATION_ENDPOINT=issuer + "/oauth2/authorize",
    OIDC_OP_TOKEN_ENDPOINT=issuer + "/oauth2/token",
    OIDC_OP_USER_ENDPOINT=issuer + "/oauth2/userinfo",
    OIDC_OP_JWKS_ENDPOINT=issuer + "/.well-known/jwks.json",
    OIDC_RP_SIGN_ALGO="RS256",
    LOGOUT_REDIRECT_URL="/",
)

from django.urls import include, path  # noqa: E402, the settings come first

SIGN_IN = '<a href="/oidc/authenticate/">Sign in</a>'

urlpatterns = [
    path("oidc/", include("mozilla_django_oidc.urls")),
    path("", lambda request: account(request, SIGN_IN, "/oidc/logout/")),
]

run()
