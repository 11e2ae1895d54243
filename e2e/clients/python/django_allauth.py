"""A site with django-allauth and its provider for OpenID Connect. The mail by which allauth asks for a proof of the address
stays in memory."""

from application import given
from django_application import account, configure, run

roam = {
    "provider_id": "roam",
    "name": "Roam",
    "client_id": given["client_id"],
    "secret": given["client_secret"],
    "settings": {"server_url": given["issuer"]},
}
configure(
    apps=["allauth", "allauth.account", "allauth.socialaccount", "allauth.socialaccount.providers.openid_connect"],
    middleware=["allauth.account.middleware.AccountMiddleware"],
    backend="allauth.account.auth_backends.AuthenticationBackend",
    SOCIALACCOUNT_PROVIDERS={"openid_connect": {"APPS": [roam]}},
    EMAIL_BACKEND="django.core.mail.backends.locmem.EmailBackend",
)

from django.urls import include, path  # noqa: E402, the settings come first

SIGN_IN = '<a href="/accounts/oidc/roam/login/">Sign in</a>'

urlpatterns = [
    path("accounts/", include("allauth.urls")),
    path("", lambda request: account(request, SIGN_IN, "/accounts/logout/")),
]

run()
