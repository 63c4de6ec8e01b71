"""The program `age`: it opens what we encrypt, and we import what it encrypts."""

import base64
import json
import os
import pty
import select
import subprocess
import tempfile
from pathlib import Path

from kit import COMMAND, SERVER_ENV, check, finish

PROGRAM = COMMAND[0]
PASSPHRASE = "correct horse ünïcode"
# More than two chunks of 64 KiB.
MANY = 1500


def ours(*arguments, given=None):
    environment = {"PATH": os.environ["PATH"], **SERVER_ENV}
    return subprocess.run([PROGRAM, *arguments], env=environment, input=given, capture_output=True, check=False)


def age(*arguments):
    return subprocess.run(["age", *arguments], capture_output=True, check=False)


def age_asks(*arguments):
    """Runs `age` at a terminal, where it prompts for a passphrase; returns its exit status."""
    child, terminal = pty.fork()
    if child == 0:
        os.execvp("age", ["age", *arguments])
    said = b""
    while select.select([terminal], [], [], 60)[0]:
        try:
            said += os.read(terminal, 1000)
        except OSError:
            break
        if said.rstrip().endswith(b":"):
            os.write(terminal, PASSPHRASE.encode() + b"\n")
            said = b""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def links(count):
    seed = lambda nth: base64.b32encode(nth.to_bytes(20, "big")).decode()
    return "".join(f"otpauth://totp/Many:n{nth}?secret={seed(nth)}&issuer=Many\n" for nth in range(1, count + 1))


with tempfile.TemporaryDirectory() as folder:
    here = Path(folder)
    at = lambda name: str(here / name)
    (here / "passphrase").write_text(PASSPHRASE + "\n")
    subprocess.run(["age-keygen", "-o", at("key")], check=True, capture_output=True)
    recipient = subprocess.run(["age-keygen", "-y", at("key")], check=True, capture_output=True, text=True).stdout.strip()
    other = subprocess.run(["age-keygen"], check=True, capture_output=True, text=True).stderr.split()[-1]

    ours("secret", "import", "-", "--yes", given=links(MANY).encode())
    plain = ours("secret", "export", "--plain", "--yes").stdout
    check("there is something to export", plain.count(b"\n") == MANY, plain[:100])

    ours("secret", "export", "--to", other, "--to", recipient, "--output", at("for-a-key.age"))
    opened = age("-d", "-i", at("key"), at("for-a-key.age"))
    check("age opens what was encrypted to its key", opened.stdout == plain, opened.stderr)

    ours("secret", "export", "--passphrase-file", at("passphrase"), "--output", at("ours.age"))
    ended = age_asks("-d", "-o", at("opened"), at("ours.age"))
    check("age opens what was encrypted with a passphrase", ended == 0 and (here / "opened").read_bytes() == plain, ended)

    made = ours("vault", "backup", at("backup.age"), "--to", recipient)
    opened = age("-d", "-i", at("key"), "-o", at("backup.db"), at("backup.age"))
    check("age opens a backup", opened.returncode == 0, (made.stderr, opened.stderr))
    restored = ours("vault", "restore", at("backup.db"), "--yes")
    check("and it is restored", restored.returncode == 0, restored.stderr)

    (here / "links").write_text(links(MANY).replace("Many", "Theirs"))
    for form in [[], ["--armor"]]:
        file = at(f"theirs{len(form)}.age")
        check(f"age encrypts {form}", age_asks("-p", *form, "-o", file, at("links")) == 0)
        ran = ours("secret", "import", file, "--passphrase-file", at("passphrase"), "--dry-run", "--json")
        told = json.loads(ran.stdout or b"{}")
        check(f"a file of age's is read {form}", told.get("entries") == MANY, (told, ran.stderr))
    (here / "wrong").write_text("wrong")
    ran = ours("secret", "import", file, "--passphrase-file", at("wrong"))
    check("a wrong passphrase is told", b"passphrase is wrong" in ran.stderr, ran.stderr)

finish()
