"""Skyvern (`skyvern`) fetches codes from its `totp_url`: its own functions poll the server, with its own signatures.

All of Skyvern but what they need is left out; a stand-in for the database returns the organisation's API key.
"""

import asyncio
import json
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

from kit import COMMAND, SEED, SERVER_ENV, check, finish, is_code

# By default, Skyvern calls no private address, and fetches the prices of models from the network.
os.environ |= {"ALLOWED_HOSTS": '["127.0.0.1"]', "LITELLM_LOCAL_MODEL_COST_MAP": "True", "SKYVERN_TELEMETRY": "false"}

import skyvern.services.otp_service as otp  # noqa: E402
from skyvern.forge import set_force_app_instance  # noqa: E402
from skyvern.forge.agent_functions import AgentFunction  # noqa: E402
from skyvern.forge.sdk.core.security import generate_skyvern_webhook_signature  # noqa: E402

KEY = "eyJhbGciOiJIUzI1NiJ9.skyvern.key"
ENVIRONMENT = {"PATH": os.environ["PATH"], **SERVER_ENV}
# The longest time that Skyvern waits for one answer.
SECONDS = 30


def skyvern(key):
    async def token(*_):
        return SimpleNamespace(token=key)

    organizations = SimpleNamespace(get_valid_org_auth_token=token)
    set_force_app_instance(SimpleNamespace(AGENT_FUNCTION=AgentFunction(), DATABASE=SimpleNamespace(organizations=organizations)))


def operate(*words, typed=""):
    ran = subprocess.run([COMMAND[0], *words, "--json"], env=ENVIRONMENT, input=typed, capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


def add(label, *flags):
    added = operate("secret", "add", "--label", label, "--issuer", "Site", "--stdin", *flags, typed=SEED)
    return added["totp_secret"]["id"]


class Server:
    def __init__(self, *flags):
        command = [COMMAND[0], "serve", "--listen", "127.0.0.1:0", "--auth-failures", "off", *flags]
        self.process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if "listening on " in line:
                self.base = line.split("listening on ")[1].split()[0]
                return
        raise RuntimeError("the server did not start")

    def hook(self, secret):
        return f"{self.base}/hooks/skyvern/{secret}"

    def end(self):
        self.process.terminate()
        self.process.stderr.read()
        return self.process.wait(timeout=15)


async def ask(url, key=KEY, task="tsk_1"):
    """Polls once, as Skyvern does; returns the value that it takes, and the statuses of the answers."""
    told = otp.WebhookOTPVerificationContext()
    value = await otp._get_otp_value_from_url("o_1", url, key, task_id=task, workflow_run_id="wr_1", context=told)
    return value and value.value, list(told.statuses)


def post(url, body, headers):
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}")


def forged(url):
    """Requests that Skyvern did not make."""
    signed = generate_skyvern_webhook_signature({"task_id": "tsk_9"}, KEY)
    body, headers = signed.signed_payload.encode(), signed.headers
    without = {name: {each: value for each, value in headers.items() if each != name} for name in headers}
    now = int(time.time())
    return {
        "another body": (body.replace(b"9", b"8"), headers),
        "no body": (b"", headers),
        "no signature": (body, without["x-skyvern-signature"]),
        "a cut signature": (body, headers | {"x-skyvern-signature": signed.signature[:-1]}),
        "no time": (body, without["x-skyvern-timestamp"]),
        "an old time": (body, headers | {"x-skyvern-timestamp": str(now - 3600)}),
        "a time to come": (body, headers | {"x-skyvern-timestamp": str(now + 3600)}),
        "a time that is none": (body, headers | {"x-skyvern-timestamp": "now"}),
    }


async def main():
    plain, typed, other = add("ann"), add("bob", "--origin", "https://site.example", "--fill-only"), add("cy")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "skyvern.key"
        file.write_text(f"{KEY}\n")
        file.chmod(0o600)
        server = Server("--hook-key-file", file)
        url = server.hook(plain)

        skyvern(KEY)
        since = time.time()
        polled = await otp.poll_otp_value("o_1", task_id="tsk_1", totp_verification_url=url)
        check("skyvern polls, and gets the code", polled and is_code(polled.value, SEED, since), polled and len(polled.value))
        begun = time.monotonic()
        again, statuses = await ask(url)
        check("the next poll: not the same code, and in time", again != polled.value and time.monotonic() - begun < SECONDS)
        check("the next poll: an answer that skyvern understands", statuses == [200], statuses)

        check("another key: nothing", await ask(url, key="other") == (None, [401]))
        unknown = await ask(server.hook("01993b6e-0000-7000-8000-000000000000"))
        check("an unknown secret: nothing", unknown == (None, [404]), unknown[1])
        for_pages = await ask(server.hook(typed))
        check("a secret that is for filling only: refused", for_pages == (None, [403]), for_pages[1])
        for name, (body, headers) in forged(url).items():
            status, answer = post(server.hook(other), body, headers)
            check(f"{name}: refused", status == 401 and "verification_code" not in answer, (status, sorted(answer)))
        check("the server ended as asked", server.end() == 0)

    purposes = [row.get("purpose") or "" for row in operate("audit", "list")["rows"]]
    check("the audit log says that it was skyvern", any("skyvern" in purpose for purpose in purposes), purposes)

    closed = Server()
    signed = generate_skyvern_webhook_signature({"task_id": "tsk_1"}, KEY)
    status, _ = post(closed.hook(plain), signed.signed_payload.encode(), signed.headers)
    check("without a key of the hook there is none", status == 404, status)
    closed.end()


asyncio.run(main())
finish()
