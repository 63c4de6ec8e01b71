// Logins by access tokens of a third-party identity provider, obtained by an MCP client that knows the server's address
// alone, and by machines; and the ways in which a token can be wrong.

import { Client, StreamableHTTPClientTransport, UnauthorizedError } from "@modelcontextprotocol/client";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { check, finish, isCode, now, SEAT, SEED } from "./kit.mjs";
import { CALLBACK, HASTY, HOST, Issuer, MACHINE } from "./issuer.mjs";
import { operate, serve } from "./operator.mjs";
import { listen } from "./proxy.mjs";

const REVISION = "2026-07-28";
// The person's subject at the issuer; the runner gave the seat the same.
const PERSON = "idp|ann";
const METADATA = "/.well-known/oauth-protected-resource";
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
const sameNames = (one, other) => same(one.toSorted(), other);

/** One call, of the revision that needs no session. */
async function call(token, method, params = {}) {
  const meta = { "io.modelcontextprotocol/protocolVersion": REVISION, "io.modelcontextprotocol/clientCapabilities": {} };
  const headers = {
    "content-type": "application/json",
    accept: "application/json, text/event-stream",
    "mcp-protocol-version": REVISION,
    "mcp-method": method,
    ...(params.name && { "mcp-name": params.name }),
    ...(token && { authorization: `Bearer ${token}` }),
  };
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: { ...params, _meta: meta } });
  const answer = await fetch(RESOURCE, { method: "POST", headers, body });
  const text = await answer.text();
  return { status: answer.status, challenge: answer.headers.get("www-authenticate") ?? "", body: JSON.parse(text) };
}

const status = async (token) => (await call(token, "tools/list")).status;

/** The state of a login that an MCP client keeps. */
class Login {
  redirectUrl = CALLBACK;
  clientMetadata = { redirect_uris: [CALLBACK] };
  clientInformation = () => ({ client_id: HOST });
  tokens = () => this.kept;
  saveTokens = (tokens) => void (this.kept = tokens);
  redirectToAuthorization = (url) => void (this.page = url);
  saveCodeVerifier = (verifier) => void (this.verifier = verifier);
  codeVerifier = () => this.verifier;
  saveDiscoveryState = (state) => void (this.found = state);
  discoveryState = () => this.found;
}

/** The error that a call fails with, or null. */
const failure = (call) => call.then(() => null, (error) => error);

/** A client that knows the server's address alone. The page to which it sends its person is in `login.page`. */
async function client(login) {
  const client = new Client({ name: "interop", version: "1.0.0" }, { versionNegotiation: { mode: { pin: REVISION } } });
  const transport = new StreamableHTTPClientTransport(new URL(RESOURCE), { authProvider: login });
  const failed = await failure(client.connect(transport));
  return { client, transport, failed };
}

function changed(token, change) {
  const [head, claims, signature] = token.split(".");
  const edited = { ...JSON.parse(Buffer.from(claims, "base64url")), ...change };
  return [head, Buffer.from(JSON.stringify(edited)).toString("base64url"), signature].join(".");
}

// The resource's address is named before the server has one: the issuer puts it into its tokens.
const issuer = await Issuer.start();
const front = await listen();
const RESOURCE = `${front.url}/mcp`;
const { server, address } = await serve("--oauth-issuer", issuer.url, "--oauth-audience", RESOURCE);
front.target = address;

const unknown = await call(null, "tools/list");
check("no token: refused", unknown.status === 401, unknown);
const pointer = `resource_metadata="${front.url}${METADATA}/mcp"`;
check("no token: told where to log in", unknown.challenge.includes(pointer), unknown);
for (const path of [METADATA, `${METADATA}/mcp`]) {
  const document = await (await fetch(front.url + path)).json();
  const right = document.resource === RESOURCE && same(document.authorization_servers, [issuer.url]);
  check(`${path}: names resource, issuer and scopes`, right && document.scopes_supported.includes("codes:read"), document);
}

// A person, who first grants the client the scopes to read, and then, when it tries to do more, another one.
const login = new Login();
const first = await client(login);
const sent = first.failed instanceof UnauthorizedError && login.page?.origin === issuer.url;
check("a client is sent to the issuer", sent, first.failed);
check("a client asks for this server alone", login.page.searchParams.get("resource") === RESOURCE, login.page.href);
const looking = login.page.searchParams.get("scope");
check("a client asks for little", looking === "codes:read secrets:read seats:read", looking);
await first.transport.finishAuth(await issuer.logIn(login.page, PERSON));
const ann = await client(login);
const seen = (await ann.client.listTools()).tools.map((tool) => tool.name);
const readable = ["get_seat", "get_seat_count", "get_totp_code", "list_seats", "list_totp_secrets"];
check("logged in: the tools of its scopes", !ann.failed && sameNames(seen, readable), seen);
const registering = { name: "register_totp_secret", arguments: { label: "Shared", secret: SEED } };
const short = await failure(ann.client.callTool(registering));
check("one scope short: asked to log in for it", short instanceof UnauthorizedError, short);
const wanted = login.page.searchParams.get("scope");
check("one scope short: nothing else is asked for", wanted === `${looking} secrets:write`, wanted);
await ann.transport.finishAuth(await issuer.logIn(login.page, PERSON));
const registered = (await ann.client.callTool(registering)).structuredContent?.totp_secret;
check("logged in again: the call goes through", registered?.secret === SEED, registered);
const secret_id = registered?.id;
const code = { name: "get_totp_code", arguments: { secret_id } };
let since = now();
const given = (await ann.client.callTool(code)).structuredContent;
check("logged in: a code", isCode(given?.code, SEED, since), given);
await ann.client.close();

// Machines, each with a seat of its own, and two scopes.
const scopes = "codes:read secrets:read";
check("a login without a seat: refused", (await status(await issuer.token(MACHINE, RESOURCE, scopes))) === 403);
const seats = {};
for (const name of [MACHINE, HASTY]) {
  const added = await operate("seat", "add", "--email", `${name}@example.com`, "--auth-subject", name);
  seats[name] = added.seat.seat_id;
}
const hasty = await issuer.token(HASTY, RESOURCE, scopes);
check("a token that lives for a second: taken", (await status(hasty)) === 200);
const token = await issuer.token(MACHINE, RESOURCE, scopes);
const listed = (await call(token, "tools/list")).body.result.tools.map((tool) => tool.name);
check("scopes: only their tools are listed", sameNames(listed, ["get_totp_code", "list_totp_secrets"]), listed);
since = now();
const answer = await call(token, "tools/call", code);
check("scopes: a code", isCode(answer.body.result?.structuredContent?.code, SEED, since), answer);
const beyond = await call(token, "tools/call", { name: "delete_totp_secret", arguments: { secret_id } });
const told = beyond.challenge.includes('error="insufficient_scope", scope="secrets:write"');
check("scopes: another tool is refused, and told why", beyond.status === 403 && told, beyond);

// The audit log names the seat of each login.
const { rows } = await operate("audit", "list", "--secret", secret_id);
const row = (action, seat_id) => ["oauth", action, seat_id, "ok"];
const expected = [row("secret.register", SEAT.seat_id), row("code.get", SEAT.seat_id), row("code.get", seats[MACHINE])];
const noted = rows.map((each) => [each.actor, each.action, each.seat_id, each.outcome]);
check("trail: each call has its seat", same(noted, expected), noted);

// Wrong tokens, from the same issuer with the same key.
const wrong = {
  "another audience": await issuer.token(MACHINE, "https://elsewhere.example/mcp", scopes),
  "more scopes written in": changed(token, { scope: "secrets:write" }),
  "another person written in": changed(token, { sub: PERSON }),
  "a longer life written in": changed(token, { exp: now() + 86400 }),
  "no signature": token.replace(/[^.]*$/, ""),
  "an unsigned head": `${Buffer.from('{"alg":"none","typ":"at+jwt"}').toString("base64url")}.${token.split(".")[1]}.`,
  "no token at all": "junk",
};
for (const [what, sent] of Object.entries(wrong)) {
  const refused = await call(sent, "tools/list");
  check(`${what}: refused`, refused.status === 401 && refused.challenge.includes("resource_metadata="), refused);
}

// The clocks of two machines may differ by half a minute, so an expired token is accepted for that long.
const deadline = now() + 60;
while (now() < deadline && (await status(hasty)) === 200) await sleep(1000);
check("an expired token: refused", (await status(hasty)) === 401);
check("an unexpired one of the same key: taken", (await status(token)) === 200);

// An unknown key makes the server fetch the keys again, if it has not done so for half a minute: that has passed. The
// keys that the issuer no longer has are then refused.
issuer.restart();
const renewed = await issuer.token(MACHINE, RESOURCE, scopes);
check("a new key: its token is taken at once", (await status(renewed)) === 200);
check("a key that is gone: its token is refused", (await status(token)) === 401);

const other = await Issuer.start();
check("another issuer: refused", (await status(await other.token(MACHINE, RESOURCE, scopes))) === 401);

server.kill("SIGTERM");
check("the server ended as asked", (await once(server, "exit"))[0] === 0);
for (const each of [front, issuer, other]) each.close();
finish();
