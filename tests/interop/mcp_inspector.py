"""The MCP Inspector's command line: a process for each call."""

import asyncio
import json
import subprocess
from pathlib import Path

from kit import COMMAND, MODE, SERVER_ENV, TOKEN, TOOLS, TRANSPORT, URL, check, finish
from story import story

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


listed = inspector("--strict", "--method", "tools/list")
check("tools: portable schemas", listed.returncode == 0, listed.stderr[-2000:])
listed = json.loads(listed.stdout)
listed = listed.get("result", listed)["tools"]
check("tools: all nine", [tool["name"] for tool in listed] == TOOLS)
asyncio.run(story(call))
finish()
