"""APIs of others, with what reads access tokens in Python: each takes a token for itself, and refuses one for another API
and one that was changed. The conversation is that of e2e/clients/person.mjs."""

import json
import sys

import jwt
import requests
from jose import jwt as jose_jwt
from jose.exceptions import JOSEError

given = json.loads(sys.stdin.readline())
issuer, audience = given["issuer"], given["audience"]
jwks_uri = issuer + "/.well-known/jwks.json"
ALGORITHMS = ["ES256", "RS256", "EdDSA"]

signing_keys = jwt.PyJWKClient(jwks_uri)
keys = requests.get(jwks_uri, timeout=60).json()["keys"]


def by_pyjwt(token):
    key = signing_keys.get_signing_key_from_jwt(token)
    return jwt.decode(token, key, algorithms=ALGORITHMS, audience=audience, issuer=issuer)["sub"]


def by_python_jose(token):
    kid = jose_jwt.get_unverified_header(token)["kid"]
    key = next(key for key in keys if key["kid"] == kid)
    return jose_jwt.decode(token, key, algorithms=ALGORITHMS, audience=audience, issuer=issuer)["sub"]


def refuses(verify, token, why):
    try:
        verify(token)
    except (jwt.PyJWTError, JOSEError) as error:
        return why in str(error).lower()
    return False


def read(name, verify):
    for good in given["good"]:
        try:
            assert verify(good["token"]) == good["sub"]
        except (jwt.PyJWTError, JOSEError) as error:
            return f"{name}: {error}"
    assert refuses(verify, given["for_another_api"], "audience"), name
    assert refuses(verify, given["changed"], "signature"), name
    return name


print(json.dumps({"ask": "done", "steps": [read("PyJWT", by_pyjwt), read("python-jose", by_python_jose)]}))
