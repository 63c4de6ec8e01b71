"""The MCP Inspector's command line: a process for each call, which can't show links."""

import asyncio
import json
import subprocess
import time
from pathlib import Path

from kit import COMMAND, MODE, PIN, SEAT, SEED, SERVER_ENV, TOKEN, TOOLS, TRANSPORT, URL, check, finish, is_code
from page import add_on_page
from story import story
from terminal import finish_on_terminal

PROGRAM = ["node", str(Path(__file__).parent / "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js")]


def inspector(*arguments):
    command = [*PROGRAM, "--cli", "--protocol-era", MODE, "-q", "--format", "json", *arguments]
    if TRANSPORT == "stdio":
        # Its own options end where the server's command begins.
        command += [part for pair in SERVER_ENV.items() for part in ("-e", "=".join(pair))] + ["--", *COMMAND]
    else:
        command += ["--server-url", URL, "--transport", TRANSPORT, "--header", f"Authorization: Bearer {TOKEN}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


async def call(tool, arguments):
    ran = inspector("--method", "tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments))
    try:
        result = json.loads(ran.stdout)
    except json.JSONDecodeError:
        raise RuntimeError(f"exit {ran.returncode}: {ran.stderr[-800:]}") from None
    result = result.get("result", result)
    if result.get("isError"):
        return None, json.loads(result["content"][0]["text"])
    return result["structuredContent"], None


async def enrol():
    """A person adds a secret: on the page of a server; on the terminal where the sidecar, and its page, end with the call."""
    asked = {"label": "By a person", "issuer": "Example"}
    if TRANSPORT != "stdio":
        asked["seat_id"] = SEAT["seat_id"]
    pending, _ = await call("enroll_totp_secret", asked)
    check("enrol: a link for the model", pending["status"] == "PENDING", pending)
    if TRANSPORT == "stdio":
        ended, shown = finish_on_terminal(COMMAND[0], SERVER_ENV, pending["enrollment_id"], SEED)
        check("enrol: on the terminal", ended == 0 and pending["words"] in shown and SEED not in shown, (ended, shown))
    else:
        title = add_on_page(pending["enrollment_url"], SEED, PIN)
        check("enrol: on the page", title == "Added", title)
    outcome, _ = await call("enroll_totp_secret", {"enrollment_id": pending["enrollment_id"]})
    check("enrol: learned later", outcome["status"] == "OK" and SEED not in json.dumps([pending, outcome]), outcome)
    since = time.time()
    code, _ = await call("get_totp_code", {"secret_id": outcome["totp_secret"]["id"]})
    check("enrol: its codes", is_code(code["code"], SEED, since), code)


listed = inspector("--strict", "--method", "tools/list")
check("tools: portable schemas", listed.returncode == 0, listed.stderr[-2000:])
listed = json.loads(listed.stdout)
listed = listed.get("result", listed)["tools"]
check("tools: all nine", [tool["name"] for tool in listed] == TOOLS)
asyncio.run(story(call))
asyncio.run(enrol())
finish()
