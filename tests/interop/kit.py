"""The parts that all clients here share: checks, the target, and an oracle for codes that shares nothing with the
product."""

import base64
import hmac
import json
import os
import struct
import sys
import time

SEED = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
SEED_SHA256 = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZA"
TOOLS = [
    "list_totp_secrets",
    "get_totp_code",
    "verify_totp_code",
    "enroll_totp_secret",
    "register_totp_secret",
    "list_seats",
    "get_seat",
    "get_seat_count",
    "delete_totp_secret",
]

# Set by the runner.
TRANSPORT = os.environ.get("INTEROP_TRANSPORT", "stdio")
MODE = os.environ.get("INTEROP_MODE", "")
COMMAND = json.loads(os.environ.get("INTEROP_COMMAND", "[]"))
SERVER_ENV = json.loads(os.environ.get("INTEROP_ENV", "{}"))
URL = os.environ.get("INTEROP_URL", "")
BASE_URL = os.environ.get("INTEROP_BASE_URL", "")
KEY_ID = os.environ.get("INTEROP_KEY_ID", "")
KEY_SECRET = os.environ.get("INTEROP_KEY_SECRET", "")
TOKEN = os.environ.get("INTEROP_TOKEN", "")
# The PIN of the seat, for the page of an enrolment.
PIN = os.environ.get("INTEROP_PIN", "")
SEAT = json.loads(os.environ.get("INTEROP_SEAT", "{}"))

failed = 0


def check(name, holds, detail=""):
    """Prints one line for a check. The runner counts the lines."""
    global failed
    if not holds:
        failed += 1
    print(f"{'ok' if holds else 'not ok'} {name}{'' if holds else f': {detail!r}'}", flush=True)


def finish():
    sys.exit(1 if failed else 0)


def code_at(seed, step, digits=6, algorithm="sha1"):
    key = base64.b32decode(seed + "=" * (-len(seed) % 8))
    digest = hmac.digest(key, struct.pack(">Q", step), algorithm)
    at = digest[-1] & 15
    number = struct.unpack(">I", digest[at : at + 4])[0] & 0x7FFFFFFF
    return str(number % 10**digits).zfill(digits)


def is_code(code, seed, since, period=30, digits=6, algorithm="sha1"):
    """Whether a code is that of a step between `since` and now."""
    steps = range(int(since) // period, int(time.time()) // period + 1)
    return code in [code_at(seed, step, digits, algorithm) for step in steps]
