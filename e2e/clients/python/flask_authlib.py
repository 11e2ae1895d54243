"""The application of Authlib's manual for Flask."""

from authlib.integrations.flask_client import OAuth
from flask import Flask, redirect, session, url_for

from application import SIGN_IN, SIGN_OUT, given, home, page, serve

app = Flask(__name__)
app.secret_key = "a secret of this application"
oauth = OAuth(app)
oauth.register(
    name="roam",
    client_id=given["client_id"],
    client_secret=given["client_secret"],
    server_metadata_url=given["issuer"] + "/.well-known/openid-configuration",
    client_kwargs={"scope": "openid profile email offline_access"},
)


@app.route("/login")
def login():
    return oauth.roam.authorize_redirect(url_for("auth", _external=True))


@app.route("/auth")
def auth():
    token = oauth.roam.authorize_access_token()
    session["user"] = token["userinfo"]
    session["kept"] = [token["id_token"], token["refresh_token"]]
    return redirect("/")


@app.route("/refresh")
def refresh():
    id_token, before = session["kept"]
    token = oauth.roam.fetch_access_token(grant_type="refresh_token", refresh_token=before)
    session["kept"] = [id_token, token["refresh_token"]]
    return page({"refreshed": token["refresh_token"] != before}, SIGN_OUT)


@app.route("/logout")
def logout():
    id_token, _ = session["kept"]
    session.clear()
    return oauth.roam.logout_redirect(home + "/", id_token_hint=id_token)


@app.route("/")
def index():
    user = session.get("user")
    if not user:
        return page({}, SIGN_IN)
    return page({"name": user["name"], "email": user["email"], "username": user["preferred_username"]}, SIGN_OUT)


serve(app)
