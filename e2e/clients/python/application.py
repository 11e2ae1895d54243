"""A web application whose visitors are the test that runs this program: it is told its client on one line, says when it
listens, and ends with its input. Owns its page; knows nothing of OpenID."""

import html
import json
import os
import sys
import threading
from wsgiref.simple_server import WSGIRequestHandler, make_server

# The issuer, and what was registered there.
given = json.loads(sys.stdin.readline())

# Where the application is.
home = f"http://localhost:{given['port']}"

SIGN_IN = '<a href="/login">Sign in</a>'
SIGN_OUT = '<a href="/logout">Sign out</a>'


def page(known, way):
    """A page that shows what the application knows of its visitor, and the way on."""
    rows = "".join(f"<li>{name}: {html.escape(str(value))}</li>" for name, value in known.items())
    return f"<!doctype html><title>An application</title><main><ul>{rows}</ul>{way}</main>"


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


def end_with_the_input():
    sys.stdin.read()
    os._exit(0)


def serve(app):
    """Serves the application until the test leaves."""
    server = make_server("127.0.0.1", given["port"], app, handler_class=Quiet)
    threading.Thread(target=end_with_the_input, daemon=True).start()
    print("listening", flush=True)
    server.serve_forever()
