#!/usr/bin/env python3
"""Receives Watchkeep's failover callbacks and does each once, in order, and none that is out of date.

    fence.py receive --listen 127.0.0.1:9300 --state DIR --secret-file FILE -- COMMAND [ARG ...]
    fence.py claim   --url http://127.0.0.1:9300 --service db --token-file FILE
    fence.py guard   --url http://127.0.0.1:9300 --service db --token-file FILE -- COMMAND [ARG ...]

`receive` takes `POST /failover`: it checks the Standard Webhooks signature, and keeps for each service the highest
fencing token it has seen, on disk before anything is done. A lower token is answered 409, so that a callback which was
long on its way undoes nothing. COMMAND gets SERVICE, INSTANCE and FENCING_TOKEN in its environment; it must be one that
may be run twice, since after a crash it is. `GET /claim?service=db&token=7` says whether who holds this token may act.

`claim` asks that before an instance starts as the primary, and `guard` asks again and again while it is one and runs
COMMAND when it is not any more. The token file holds the token with which the instance was promoted; without one it is 0.
Nobody answers: `claim` refuses, since it cannot know; `guard` goes on, since a receiver that is down must not be an outage.

The standard library of Python 3.9 is all it needs. Exit codes: 0 done or granted, 1 refused, 2 wrong use.
"""

import argparse
import base64
import binascii
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BODY_BYTES_MAX = 64 * 1024
CLOCK_SECONDS_MAX = 300
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


def now():
    return datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def tell(event, **what):
    print(json.dumps({"at": now(), "event": event, **what}), flush=True)


class Refusal(Exception):
    """An answer that is not 200."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def read_secret(path):
    """The secret's bytes, as Watchkeep reads the same file."""
    secret = Path(path).read_bytes().strip()
    if not secret:
        raise SystemExit(f"{path} is empty: write the secret into it")
    if secret.startswith(b"whsec_"):
        return base64.b64decode(secret[len(b"whsec_"):], validate=True)
    return secret


def verify(secret, headers, body, seconds):
    """Standard Webhooks: one of the signatures is the HMAC-SHA256 of `id.timestamp.body`, and it is not old."""
    name, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not stamp.isdigit() or abs(seconds - int(stamp)) > CLOCK_SECONDS_MAX:
        raise Refusal(401, f"webhook-timestamp {stamp!r} is not of the last {CLOCK_SECONDS_MAX} s")
    expected = hmac.new(secret, f"{name}.{stamp}.".encode() + body, hashlib.sha256).digest()
    for signature in headers.get("webhook-signature", "").split():
        version, _, text = signature.partition(",")
        try:
            given = base64.b64decode(text, validate=True)
        except binascii.Error:
            continue
        if version == "v1" and hmac.compare_digest(given, expected):
            return
    raise Refusal(401, "webhook-signature is not that of this secret")


class Tokens:
    """The highest token of each service: a file each, replaced whole, on disk before the effect."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def read(self, service):
        try:
            return json.loads((self.folder / f"{service}.json").read_text())
        except FileNotFoundError:
            return {"token": 0, "done": True}

    def write(self, service, record):
        path = self.folder / f"{service}.json"
        draft = path.with_suffix(".draft")
        with draft.open("w") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Fence:
    """What is done with a callback that is signed."""

    def __init__(self, tokens, command):
        self.tokens = tokens
        self.command = command
        # One at a time: a second one is judged by what the first has left.
        self.lock = threading.Lock()

    def failover(self, body, received_at):
        service, instance, token = body.get("service"), body.get("instance"), body.get("fencing_token")
        if not isinstance(service, str) or not NAME.match(service):
            raise Refusal(400, f"service {service!r} is not a name")
        if not isinstance(token, int) or isinstance(token, bool) or token < 1:
            raise Refusal(400, f"fencing_token {token!r} is not a number above 0")
        if body.get("rehearsal") is True:
            tell("rehearsed", service=service, token=token)
            return "rehearsed: nothing was done"
        with self.lock:
            record = self.tokens.read(service)
            if token < record["token"]:
                tell("refused", service=service, token=token, highest=record["token"])
                raise Refusal(409, f"token {token} is out of date: {record['token']} has been seen")
            if token == record["token"] and record["done"]:
                return "done before"
            record = {"token": token, "key": body.get("idempotency_key"), "instance": instance,
                      "received_at": received_at, "done": False}
            self.tokens.write(service, record)
            tell("accepted", service=service, instance=instance, token=token)
            self.run(service, str(instance), token)
            self.tokens.write(service, {**record, "done": True, "done_at": now()})
            tell("done", service=service, token=token)
            return "done"

    def run(self, service, instance, token):
        environment = {**os.environ, "SERVICE": service, "INSTANCE": instance, "FENCING_TOKEN": str(token)}
        ran = subprocess.run(self.command, env=environment, stdin=subprocess.DEVNULL, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if ran.returncode != 0:
            tell("failed", service=service, token=token, code=ran.returncode, output=ran.stdout[-2000:])
            raise Refusal(500, f"the command ended with {ran.returncode}: {ran.stdout[-200:].strip()}")

    def claim(self, service, token):
        if not NAME.match(service) or not token.isdigit():
            raise Refusal(400, "write /claim?service=NAME&token=NUMBER")
        with self.lock:
            highest = self.tokens.read(service)["token"]
        if int(token) < highest:
            raise Refusal(409, f"token {token} of {service} is out of date: {highest} has been seen")
        return f"token {token} of {service} is the newest"


def handler(fence, secret):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # A client that sends nothing holds no thread for ever.
        timeout = 30

        def answer(self, work):
            try:
                status, message = 200, work()
            except Refusal as refusal:
                status, message = refusal.status, str(refusal)
            text = json.dumps({"ok": status == 200, "message": message}).encode() + b"\n"
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_POST(self):
            self.answer(self.callback)

        def callback(self):
            length = self.headers.get("content-length", "")
            if not length.isdigit() or int(length) > BODY_BYTES_MAX:
                self.close_connection = True
                raise Refusal(413, f"content-length {length!r}: give at most {BODY_BYTES_MAX}")
            body = self.rfile.read(int(length))
            received_at = now()
            if self.path != "/failover":
                raise Refusal(404, "callbacks go to /failover")
            verify(secret, self.headers, body, time.time())
            try:
                body = json.loads(body)
            except ValueError as error:
                raise Refusal(400, f"the body is not JSON: {error}") from error
            if not isinstance(body, dict):
                raise Refusal(400, "the body is not an object")
            return fence.failover(body, received_at)

        def do_GET(self):
            url = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(url.query))

            def claim():
                if url.path != "/claim":
                    raise Refusal(404, "there is /claim")
                return fence.claim(query.get("service", ""), query.get("token", ""))

            self.answer(claim)

        def log_message(self, *_):
            pass

    return Handler


def receive(args):
    host, _, port = args.listen.rpartition(":")
    fence = Fence(Tokens(args.state), args.command)
    server = ThreadingHTTPServer((host, int(port)), handler(fence, read_secret(args.secret_file)))
    server.daemon_threads = True
    tell("ready", listen=args.listen)
    server.serve_forever()


def ask(args):
    """Whether the token in the file is the newest: true, false, or none when nobody answers; and why."""
    path = Path(args.token_file)
    token = path.read_text().strip() if path.exists() else "0"
    query = urllib.parse.urlencode({"service": args.service, "token": token})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{args.url}/claim?{query}", timeout=2) as answer:
            return True, json.load(answer)["message"]
    except urllib.error.HTTPError as error:
        why = json.load(error)["message"]
        return (False if error.code == 409 else None), why
    except (OSError, ValueError) as error:
        return None, f"{args.url}: {error}"


def claim(args):
    granted, why = ask(args)
    print(f"granted: {why}" if granted else f"refused: {why}", flush=True)
    return 0 if granted else 1


def guard(args):
    while True:
        granted, why = ask(args)
        if granted is False:
            print(f"refused: {why}", flush=True)
            subprocess.run(args.command, check=False)
            return 1
        time.sleep(args.every)


def main():
    whole = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    tasks = whole.add_subparsers(required=True)
    task = tasks.add_parser("receive", help="take callbacks and run COMMAND for each")
    task.add_argument("--listen", required=True, help="HOST:PORT")
    task.add_argument("--state", required=True, help="folder for the tokens; must outlive the program")
    task.add_argument("--secret-file", required=True, help="the policy's callback.secret_file")
    task.add_argument("command", nargs="+")
    task.set_defaults(run=receive)
    for name, run, what in [("claim", claim, "may the instance start as primary?"),
                            ("guard", guard, "run COMMAND when it may be primary no longer")]:
        task = tasks.add_parser(name, help=what)
        task.add_argument("--url", required=True, help="of the receiver")
        task.add_argument("--service", required=True)
        task.add_argument("--token-file", required=True)
        if name == "guard":
            task.add_argument("--every", type=float, default=1.0, help="seconds")
            task.add_argument("command", nargs="+")
        task.set_defaults(run=run)
    args = whole.parse_args()
    sys.exit(args.run(args))


if __name__ == "__main__":
    main()
