"""schemathesis (PyPI) against the server's own OpenAPI document: made-up requests, right and wrong ones, to every route."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from kit import BASE_URL, COMMAND, SEAT, SERVER_ENV, TOKEN, check, finish

# With a PIN, a request for an enrolment would begin one, and the next request would wait for its person for 45 seconds.
environment = {"PATH": os.environ["PATH"], **SERVER_ENV}
without = [COMMAND[0], "seat", "update", SEAT["seat_id"], "--no-pin"]
subprocess.run(without, env=environment, check=True, capture_output=True)

PROGRAM = Path(sys.executable).parent / "schemathesis"
command = [PROGRAM, "run", f"{BASE_URL}/openapi.json", "--url", BASE_URL, "-H", f"Authorization: Bearer {TOKEN}"]
# The same cases in every run; enough of them to take seconds.
command += ["--seed", "1", "--generation-deterministic", "--max-examples", "50", "--no-color", "--continue-on-failure"]
# No schema can state some rules, such as that an otpauth URI must be a valid one.
command += ["--exclude-checks", "positive_data_acceptance"]
with tempfile.TemporaryDirectory() as folder:
    # It writes what it found into the folder in which it runs.
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280, check=False)
check("no request breaks what the document says", ran.returncode == 0, ran.stdout[-6000:])
finish()
