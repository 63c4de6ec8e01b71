"""The mirrored API's official Python client, with nothing changed but its address and its key."""

import time
import uuid
from datetime import datetime, timezone

from sendblue_api import AuthenticationError, BadRequestError, ConflictError, NotFoundError, SendblueAPI
from sendblue_api._types import Omit

from kit import BASE_URL, KEY_ID, KEY_SECRET, SEAT, SEED, SEED_SHA256, check, finish, is_code


def raises(kind, call):
    try:
        call()
    except kind:
        return True
    return False


client = SendblueAPI(api_key=KEY_ID, api_secret=KEY_SECRET, base_url=BASE_URL, max_retries=0, _strict_response_validation=True)
secrets, totp, seats = client.v2.totp.secrets, client.v2.totp, client.v2.seats

first = secrets.create(label="Mail", issuer="Example", secret=SEED).totp_secret
check("create: by seed", first.secret == SEED and first.label == "Mail" and first.period == 30)
uri = f"otpauth://totp/Bank:ann@example.com?secret={SEED_SHA256}&issuer=Bank&algorithm=SHA256&digits=8&period=60"
second = secrets.create(uri=uri).totp_secret
check("create: by uri", (second.label, second.issuer, second.digits, second.period) == ("ann@example.com", "Bank", 8, 60))
third = secrets.create(label="Fresh").totp_secret
check("create: a seed is made", len(third.secret) == 32 and third.issuer is None)
listed = secrets.list()
check("list: newest last", [each.id for each in listed.totp_secrets] == [first.id, second.id, third.id] and listed.status == "OK")
check("list: no seed", all("secret" not in each.to_dict() for each in listed.totp_secrets))

since = time.time()
code = totp.get_code(first.id)
check("code: SHA1, 6 digits", is_code(code.code, SEED, since) and 1 <= code.expires_in <= 30 and code.status == "OK")
since = time.time()
check("code: SHA256, 8 digits", is_code(totp.get_code(second.id).code, SEED_SHA256, since, 60, 8, "sha256"))

check("seats: count", seats.count().count == 1 and seats.count(email="no@example.com").count == 0)
listed = seats.list(email=SEAT["email"], limit=10, offset=0)
check("seats: list", [seat.seat_id for seat in listed] == [SEAT["seat_id"]] and listed[0].email == SEAT["email"])
named = [seats.retrieve(name).seat.seat_id for name in (SEAT["seat_id"], "idp|ann")]
check("seats: by id and by subject", named == [SEAT["seat_id"]] * 2, named)

check("delete", secrets.delete(first.id).status == "OK")
check("delete: gone", raises(NotFoundError, lambda: totp.get_code(first.id)))
check("error: unknown seat", raises(NotFoundError, lambda: seats.retrieve(str(uuid.uuid4()))))
check("error: bad input", raises(BadRequestError, lambda: secrets.create(label="Mail", digits=7)))
once = {"single_use": "true", "max_wait": "0"}
taken = secrets.create(label="Once", period=3600).totp_secret.id
totp.get_code(taken, extra_query=once)
check("error: busy", raises(ConflictError, lambda: totp.get_code(taken, extra_query=once)))
# By default, the client retries by itself once a step is free. Five seconds of the first code's step are left, in which
# it is refused.
usual = SendblueAPI(api_key=KEY_ID, api_secret=KEY_SECRET, base_url=BASE_URL)
shared = secrets.create(label="Shared", secret=SEED, period=10).totp_secret.id
first_code = totp.get_code(shared, extra_query={"single_use": "true", "min_validity": "5", "max_wait": "10"}).code
since = time.time()
answer = usual.v2.totp.with_raw_response.get_code(shared, extra_query=once)
code = answer.parse().code
check("busy: it asks again by itself", answer.retries_taken >= 1, answer.retries_taken)
check("busy: and gets a code of its own", code != first_code and is_code(code, SEED, since, 10))
minted = client.auth.tokens.create(expires_in_seconds=60)
check("token: made", minted.token_type == "Bearer" and minted.phone_numbers == [] and minted.token.startswith("cst_"), minted.token_id)
left = (minted.expires_at - datetime.now(timezone.utc)).total_seconds()
check("token: for a minute", 50 < left <= 61, left)
bearer = {"Authorization": f"Bearer {minted.token}", "sb-api-key-id": Omit(), "sb-api-secret-key": Omit()}
check("token: works", len(secrets.list(extra_headers=bearer).totp_secrets) >= 3)
client.auth.tokens.revoke(minted.token_id)
check("token: revoked", raises(AuthenticationError, lambda: secrets.list(extra_headers=bearer)))
check("token: by default 900 s", client.auth.tokens.create().expires_at > minted.expires_at)
check("token: of phone numbers", raises(BadRequestError, lambda: client.auth.tokens.create(phone_number="+15551234567")))
stranger = SendblueAPI(api_key=KEY_ID, api_secret="wrong", base_url=BASE_URL, max_retries=0)
check("error: a wrong key", raises(AuthenticationError, stranger.v2.totp.secrets.list))
finish()
