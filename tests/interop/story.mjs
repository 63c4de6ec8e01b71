// Uses the tools as an agent would. `client` is any SDK's: it has listTools and callTool.

import { deepStrictEqual } from "node:assert";
import { randomUUID } from "node:crypto";
import { check, codeAt, isCode, now, SEAT, SEED, SEED_SHA256 } from "./kit.mjs";

export const TOOLS = [
  "list_totp_secrets",
  "get_totp_code",
  "verify_totp_code",
  "enroll_totp_secret",
  "register_totp_secret",
  "list_seats",
  "get_seat",
  "get_seat_count",
  "delete_totp_secret",
];

function same(one, other) {
  try {
    deepStrictEqual(one, other);
    return true;
  } catch {
    return false;
  }
}

/** Checks the list of tools that a client gets. */
export async function catalogue(client) {
  const { tools } = await client.listTools();
  check("tools: all nine", same(tools.map((tool) => tool.name), TOOLS), tools);
  check("tools: described", tools.every((tool) => tool.title && tool.description && tool.outputSchema));
  const readOnly = tools.filter((tool) => tool.annotations.readOnlyHint).map((tool) => tool.name).sort();
  check("tools: annotated", same(readOnly, ["get_seat", "get_seat_count", "list_seats", "list_totp_secrets"]), readOnly);
}

export async function story(client) {
  async function answer(name, args) {
    const result = await client.callTool({ name, arguments: args });
    if (result.isError) throw new Error(`${name}: ${result.content[0].text}`);
    if (!same(JSON.parse(result.content[0].text), result.structuredContent)) throw new Error("the text differs");
    return result.structuredContent;
  }
  async function refused(name, args) {
    const result = await client.callTool({ name, arguments: args });
    return result.isError ? JSON.parse(result.content[0].text) : {};
  }

  const first = (await answer("register_totp_secret", { label: "Mail", issuer: "Example", secret: SEED })).totp_secret;
  check("register: by seed", first.secret === SEED && first.label === "Mail" && first.period === 30);
  const uri = `otpauth://totp/Bank:ann@example.com?secret=${SEED_SHA256}&issuer=Bank&algorithm=SHA256&digits=8&period=60`;
  const second = (await answer("register_totp_secret", { uri })).totp_secret;
  const told = [second.label, second.issuer, second.algorithm, second.digits, second.period];
  check("register: by uri", same(told, ["ann@example.com", "Bank", "SHA256", 8, 60]), told);
  const third = (await answer("register_totp_secret", { label: "Fresh", period: 2 })).totp_secret;
  check("register: a seed is made", third.secret.length === 32 && third.issuer === null);

  const listed = await answer("list_totp_secrets", {});
  const ids = listed.totp_secrets.map((secret) => secret.id);
  check("list: newest last", same(ids, [first.id, second.id, third.id]) && listed.total === 3, listed);
  check("list: no seed", listed.totp_secrets.every((secret) => !("secret" in secret)));
  const found = await answer("list_totp_secrets", { query: "bank", limit: 1, offset: 0 });
  check("list: query", same(found.totp_secrets.map((secret) => secret.id), [second.id]), found);

  let since = now();
  let code = await answer("get_totp_code", { secret_id: first.id });
  check("code: SHA1, 6 digits", isCode(code.code, SEED, since) && code.expires_in >= 1 && code.expires_in <= 30);
  since = now();
  code = await answer("get_totp_code", { secret_id: second.id, purpose: "sign in to the bank" });
  check("code: SHA256, 8 digits", isCode(code.code, SEED_SHA256, since, 60, 8, "sha256"));
  since = now();
  const once = { secret_id: third.id, single_use: true };
  const codes = [(await answer("get_totp_code", once)).code, (await answer("get_totp_code", once)).code];
  const right = codes.every((each) => isCode(each, third.secret, since, 2));
  check("code: single use goes out once", right && codes[0] !== codes[1], codes);

  const typed = { secret_id: first.id, code: codeAt(SEED, Math.floor(now() / 30)) };
  check("verify: right", (await answer("verify_totp_code", typed)).valid === true);
  check("verify: once", (await answer("verify_totp_code", typed)).valid === false);

  check("seats: count", (await answer("get_seat_count", {})).count === 1);
  check("seats: none with that address", (await answer("get_seat_count", { email: "no@example.com" })).count === 0);
  const { seats } = await answer("list_seats", { email: SEAT.email });
  check("seats: list", same(seats, [SEAT]), seats);
  const byId = (await answer("get_seat", { seat_id: SEAT.seat_id })).seat;
  const bySubject = (await answer("get_seat", { seat_id: "idp|ann" })).seat;
  check("seats: one, by id and by subject", same(byId, SEAT) && same(bySubject, SEAT), byId);

  check("delete", (await answer("delete_totp_secret", { secret_id: first.id })).status === "OK");
  check("delete: gone", (await refused("get_totp_code", { secret_id: first.id })).error === "not_found");
  check("error: unknown seat", (await refused("get_seat", { seat_id: randomUUID() })).error === "not_found");
  const named = await refused("register_totp_secret", { label: "Mail", digits: 7 });
  check("error: names the field", named.error === "invalid_argument" && named.message.includes("digits"), named);
  const silent = await refused("get_totp_code", { secret_id: SEED });
  check("error: quotes nothing", silent.error === "invalid_argument" && !silent.message.includes(SEED), silent);
}
