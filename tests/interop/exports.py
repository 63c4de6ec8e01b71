"""Our fixtures of other apps' encrypted exports, opened by third-party programs: what these read has the codes that our
own tests expect."""

import json
from pathlib import Path

import andotp_decrypt
import pyotp
from kit import check, code_at, finish
from lib2fas._security import decrypt
from pykeepass import PyKeePass

FOLDER = Path(__file__).resolve().parent.parent / "fixtures" / "import"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
# Services issue short seeds, and apps take them.
pyotp.OTP.min_secret_length_bits = 8


def code(secret, entry):
    plain = "".join(secret.split()).upper().rstrip("=")
    return code_at(plain, EXPECTED["at"] // entry["period"], entry["digits"], entry["algorithm"].lower())


def same(name, secrets):
    """Checks that a program read these secrets, in this order, as we do."""
    entries = EXPECTED["files"][name]["entries"]
    check(f"{name} has {len(entries)} entries", len(secrets) == len(entries), len(secrets))
    for nth, (secret, entry) in enumerate(zip(secrets, entries), 1):
        if "skipped" not in entry:
            check(f"{name}, entry {nth}", code(secret, entry) == entry["code"])


def passphrase(name):
    return EXPECTED["files"][name]["passphrase"]


def twofas():
    name = "2fas-encrypted.json"
    document = json.loads((FOLDER / name).read_text())
    services = decrypt(document["servicesEncrypted"], passphrase(name))
    same(name, [service.secret for service in services])


def andotp():
    for name, reads in [
        ("andotp-encrypted.json.aes", andotp_decrypt.decrypt_aes_new_format),
        ("otpclient-andotp.json.aes", andotp_decrypt.decrypt_aes_new_format),
        ("andotp-old.json.aes", andotp_decrypt.decrypt_aes),
        ("andotp-old-rounds.json.aes", andotp_decrypt.decrypt_aes),
    ]:
        opened = reads(passphrase(name).encode(), FOLDER / name)
        same(name, [entry["secret"] for entry in json.loads(opened or "[]")])


def keepass():
    """PyKeePass reads an `otp` field, and not what other plugins write."""
    for name in ["pykeepass-4.kdbx", "keepassxc-cli.kdbx", "kdbxweb.kdbx", "file-kdbx.kdbx"]:
        file = EXPECTED["files"][name]
        key_file = FOLDER / file["key_file"] if "key_file" in file else None
        database = PyKeePass(FOLDER / name, password=file["passphrase"], keyfile=key_file)
        links = [pyotp.parse_uri(entry.otp) for entry in database.entries if (entry.otp or "").startswith("otpauth://totp/")]
        ours = [entry["code"] for entry in file["entries"] if "skipped" not in entry]
        theirs = [link.at(EXPECTED["at"]) for link in links if getattr(link, "digits", 0) in (6, 8)]
        shared = [found for found in theirs if found in ours]
        check(f"{name} has codes that both read", bool(shared), theirs)


twofas()
andotp()
keepass()
finish()
