"""The web application of requests-oauthlib's manual, which knows the provider's addresses by its settings."""

import os

from flask import Flask, redirect, request, session
from requests_oauthlib import OAuth2Session

from application import SIGN_IN, SIGN_OUT, given, home, page, serve

# The manual's word for a test without TLS.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"

client_id, client_secret = given["client_id"], given["client_secret"]
authorization_base_url = given["issuer"] + "/oauth2/authorize"
token_url = given["issuer"] + "/oauth2/token"
scope = ["openid", "profile", "email", "offline_access"]

app = Flask(__name__)
app.secret_key = "a secret of this application"


@app.route("/login")
def login():
    roam = OAuth2Session(client_id, redirect_uri=home + "/callback", scope=scope)
    authorization_url, session["oauth_state"] = roam.authorization_url(authorization_base_url)
    return redirect(authorization_url)


@app.route("/callback")
def callback():
    roam = OAuth2Session(client_id, redirect_uri=home + "/callback", state=session["oauth_state"])
    token = roam.fetch_token(token_url, client_secret=client_secret, authorization_response=request.url)
    session["oauth_token"] = {name: token[name] for name in ("access_token", "refresh_token", "token_type")}
    return redirect("/")


@app.route("/refresh")
def refresh():
    before = session["oauth_token"]
    after = OAuth2Session(client_id, token=before).refresh_token(token_url, auth=(client_id, client_secret))
    return page({"refreshed": after["access_token"] != before["access_token"]}, SIGN_OUT)


@app.route("/logout")
def logout():
    session.clear()
    return redirect("/")


@app.route("/")
def index():
    if "oauth_token" not in session:
        return page({}, SIGN_IN)
    user = OAuth2Session(client_id, token=session["oauth_token"]).get(given["issuer"] + "/oauth2/userinfo").json()
    return page({"name": user["name"], "email": user["email"], "username": user["preferred_username"]}, SIGN_OUT)


serve(app)
