"""A newcomer's path: from an empty home to a code in a host, timed. The host is a real client, MCP's inspector, which reads the same
file as hosts do."""

import hashlib
import hmac
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from .base import SYSTEM, run

# The key of RFC 6238, and the most seconds that the path may take.
SEED, KEY = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", b"12345678901234567890"
SECONDS_MAX = 30


def code_at(seconds):
    digest = hmac.digest(KEY, (int(seconds) // 30).to_bytes(8, "big"), hashlib.sha1)
    at = digest[-1] & 15
    return f"{(int.from_bytes(digest[at : at + 4], 'big') & 0x7FFFFFFF) % 10**6:06}"


def walk(build, kind, program=None, server=None):
    """Takes the path, and prints the seconds. With a program, runs `secret add` and `setup`, and uses the host's file
    that `setup` wrote. With a server's entry, as a bundle has one, runs no command: the agent registers the secret."""
    inspector = build.npm_tool("mcp-inspector")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        clean = {"PATH": os.environ["PATH"], "HOME": folder}
        if SYSTEM == "win32":
            clean |= {name: folder for name in ("USERPROFILE", "APPDATA", "LOCALAPPDATA")}
            clean["SYSTEMROOT"] = os.environ["SYSTEMROOT"]
        begun, at = time.monotonic(), time.time()
        config, commands = home / ".cursor" / "mcp.json", 0
        if program:
            run(program, "secret", "add", "--label", "ada", "--issuer", "GitHub", "--stdin", input=SEED, env=clean, cwd=home)
            run(program, "setup", "cursor", "--yes", env=clean, cwd=home)
            commands = 2
        else:
            config.parent.mkdir()
            config.write_text(json.dumps({"mcpServers": {"countersign": server}}))

        def call(tool, **arguments):
            asked = ["--method", "tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments)]
            command = [inspector, "--cli", "-q", "--format", "json", "--config", config, "--server", "countersign", *asked]
            return json.loads(run(*command, env=clean, cwd=home))["result"]["structuredContent"]

        if server:
            call("register_totp_secret", label="ada", issuer="GitHub", secret=SEED)
        secret = call("list_totp_secrets", query="github")["totp_secrets"][0]["id"]
        code = call("get_totp_code", secret_id=secret)["code"]
        took = time.monotonic() - begun
    if code not in {code_at(second) for second in range(int(at) - 30, int(time.time()) + 31, 30)}:
        sys.exit(f"{kind}: the code in the host is wrong")
    if took > SECONDS_MAX:
        sys.exit(f"{kind}: from an empty home to a code in a host took {took:.1f} s; {SECONDS_MAX} are allowed")
    print(f"{kind}: from an empty home to a code in a host with {commands} commands in {took:.1f} s")
