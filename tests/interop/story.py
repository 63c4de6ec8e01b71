"""Uses the tools as an agent would. `call(tool, arguments)` returns `(answer, error)`, one of them None."""

import time
import uuid

from kit import SEAT, SEED, SEED_SHA256, check, code_at, is_code


async def story(call):
    async def answer(tool, arguments):
        good, bad = await call(tool, arguments)
        if bad is not None:
            raise RuntimeError(f"{tool}: {bad}")
        return good

    async def refused(tool, arguments):
        good, bad = await call(tool, arguments)
        return (bad or {}).get("error"), (bad or {}).get("message", "")

    first = (await answer("register_totp_secret", {"label": "Mail", "issuer": "Example", "secret": SEED}))["totp_secret"]
    check("register: by seed", first["secret"] == SEED and first["label"] == "Mail" and first["period"] == 30, first.keys())
    uri = f"otpauth://totp/Bank:ann@example.com?secret={SEED_SHA256}&issuer=Bank&algorithm=SHA256&digits=8&period=60"
    second = (await answer("register_totp_secret", {"uri": uri}))["totp_secret"]
    told = [second[field] for field in ("label", "issuer", "algorithm", "digits", "period")]
    check("register: by uri", told == ["ann@example.com", "Bank", "SHA256", 8, 60], told)
    third = (await answer("register_totp_secret", {"label": "Fresh", "period": 2}))["totp_secret"]
    check("register: a seed is made", len(third["secret"]) == 32 and third["issuer"] is None, third.keys())

    listed = await answer("list_totp_secrets", {})
    ids = [secret["id"] for secret in listed["totp_secrets"]]
    check("list: newest last", ids == [first["id"], second["id"], third["id"]] and listed["total"] == 3, listed)
    check("list: no seed", all("secret" not in secret for secret in listed["totp_secrets"]))
    found = await answer("list_totp_secrets", {"query": "bank", "limit": 1, "offset": 0})
    check("list: query", [secret["id"] for secret in found["totp_secrets"]] == [second["id"]], found)

    since = time.time()
    code = await answer("get_totp_code", {"secret_id": first["id"]})
    check("code: SHA1, 6 digits", is_code(code["code"], SEED, since) and 1 <= code["expires_in"] <= 30)
    since = time.time()
    code = await answer("get_totp_code", {"secret_id": second["id"], "purpose": "sign in to the bank"})
    check("code: SHA256, 8 digits", is_code(code["code"], SEED_SHA256, since, 60, 8, "sha256"))
    since, codes = time.time(), []
    for _ in range(2):
        codes.append((await answer("get_totp_code", {"secret_id": third["id"], "single_use": True}))["code"])
    right = all(is_code(code, third["secret"], since, 2) for code in codes)
    check("code: single use goes out once", right and codes[0] != codes[1], codes)

    typed = {"secret_id": first["id"], "code": code_at(SEED, int(time.time()) // 30)}
    check("verify: right", (await answer("verify_totp_code", typed))["valid"] is True)
    check("verify: once", (await answer("verify_totp_code", typed))["valid"] is False)

    check("seats: count", (await answer("get_seat_count", {}))["count"] == 1)
    check("seats: none with that address", (await answer("get_seat_count", {"email": "no@example.com"}))["count"] == 0)
    seats = (await answer("list_seats", {"email": SEAT["email"]}))["seats"]
    check("seats: list", seats == [SEAT], seats)
    by_id = (await answer("get_seat", {"seat_id": SEAT["seat_id"]}))["seat"]
    by_subject = (await answer("get_seat", {"seat_id": "idp|ann"}))["seat"]
    check("seats: one, by id and by subject", by_id == by_subject == SEAT, by_id)

    check("delete", (await answer("delete_totp_secret", {"secret_id": first["id"]}))["status"] == "OK")
    check("delete: gone", (await refused("get_totp_code", {"secret_id": first["id"]}))[0] == "not_found")
    check("error: unknown seat", (await refused("get_seat", {"seat_id": str(uuid.uuid4())}))[0] == "not_found")
    error, message = await refused("register_totp_secret", {"label": "Mail", "digits": 7})
    check("error: names the field", error == "invalid_argument" and "digits" in message, message)
    error, message = await refused("get_totp_code", {"secret_id": SEED})
    check("error: quotes nothing", error == "invalid_argument" and SEED not in message, message)
