// The mirrored API's official TypeScript client, with nothing changed but its address and its key.

import { randomUUID } from "node:crypto";
import SendblueAPI from "sendblue";
import { BASE_URL, check, finish, isCode, KEY_ID, KEY_SECRET, now, SEAT, SEED, SEED_SHA256 } from "./kit.mjs";

async function status(call) {
  try {
    await call;
    return 200;
  } catch (error) {
    return error.status;
  }
}

const client = new SendblueAPI({ apiKey: KEY_ID, apiSecret: KEY_SECRET, baseURL: BASE_URL, maxRetries: 0 });
const { totp, seats } = client.v2;

const first = (await totp.secrets.create({ label: "Mail", issuer: "Example", secret: SEED })).totp_secret;
check("create: by seed", first.secret === SEED && first.label === "Mail" && first.period === 30);
const uri = `otpauth://totp/Bank:ann@example.com?secret=${SEED_SHA256}&issuer=Bank&algorithm=SHA256&digits=8&period=60`;
const second = (await totp.secrets.create({ uri })).totp_secret;
check("create: by uri", second.label === "ann@example.com" && second.issuer === "Bank" && second.digits === 8);
const third = (await totp.secrets.create({ label: "Fresh" })).totp_secret;
check("create: a seed is made", third.secret.length === 32 && third.issuer === null);
const { totp_secrets: listed } = await totp.secrets.list();
check("list: newest last", listed.map((each) => each.id).join() === [first.id, second.id, third.id].join());
check("list: no seed", listed.every((each) => !("secret" in each)));

let since = now();
const code = await totp.getCode(first.id);
check("code: SHA1, 6 digits", isCode(code.code, SEED, since) && code.expires_in >= 1 && code.expires_in <= 30);
since = now();
check("code: SHA256, 8 digits", isCode((await totp.getCode(second.id)).code, SEED_SHA256, since, 60, 8, "sha256"));

check("seats: count", (await seats.count()).count === 1 && (await seats.count({ email: "no@example.com" })).count === 0);
const found = await seats.list({ email: SEAT.email, limit: 10, offset: 0 });
check("seats: list", found.length === 1 && found[0].seat_id === SEAT.seat_id && found[0].email === SEAT.email);
const byId = (await seats.retrieve(SEAT.seat_id)).seat;
const bySubject = (await seats.retrieve("idp|ann")).seat;
check("seats: by id and by subject", byId.seat_id === SEAT.seat_id && bySubject.seat_id === SEAT.seat_id);

check("delete", (await totp.secrets.delete(first.id)).status === "OK");
check("delete: gone", (await status(totp.getCode(first.id))) === 404);
check("error: unknown seat", (await status(seats.retrieve(randomUUID()))) === 404);
check("error: bad input", (await status(totp.secrets.create({ label: "Mail", digits: 7 }))) === 400);
// By default, the client retries by itself once a step is free. Five seconds of the first code's step are left, in
// which it is refused.
let asked = 0;
const counted = (...request) => {
  asked += 1;
  return fetch(...request);
};
const usual = new SendblueAPI({ apiKey: KEY_ID, apiSecret: KEY_SECRET, baseURL: BASE_URL, fetch: counted });
const shared = (await totp.secrets.create({ label: "Shared", secret: SEED, period: 10 })).totp_secret.id;
const taken = await totp.getCode(shared, { query: { single_use: true, min_validity: 5, max_wait: 10 } });
since = now();
const later = await usual.v2.totp.getCode(shared, { query: { single_use: true, max_wait: 0 } });
check("busy: it asks again by itself", asked >= 2, asked);
check("busy: and gets a code of its own", later.code !== taken.code && isCode(later.code, SEED, since, 10));
const minted = await client.auth.tokens.create({ expires_in_seconds: 60 });
check("token: made", minted.token_type === "Bearer" && minted.phone_numbers.length === 0);
const left = (Date.parse(minted.expires_at) - Date.now()) / 1000;
check("token: for a minute", left > 50 && left <= 61, left);
const narrow = new SendblueAPI({ accessToken: minted.token, baseURL: BASE_URL, maxRetries: 0 });
check("token: works", (await narrow.v2.totp.secrets.list()).totp_secrets.length >= 3);
check("token: makes none", (await status(narrow.auth.tokens.create())) === 403);
await client.auth.tokens.revoke(minted.token_id);
check("token: revoked", (await status(narrow.v2.totp.secrets.list())) === 401);
check("token: without a body", (await client.auth.tokens.create()).token.startsWith("cst_"));
const stranger = new SendblueAPI({ apiKey: KEY_ID, apiSecret: "wrong", baseURL: BASE_URL, maxRetries: 0 });
check("error: a wrong key", (await status(stranger.v2.totp.secrets.list())) === 401);
finish();
