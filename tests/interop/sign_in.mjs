// A person proves on a server's page who they are by signing in at a third-party identity provider; another person is
// refused, and so is an answer that comes back in another browser.

import { once } from "node:events";
import { check, finish, isCode, MODE, now, SEAT, SEED } from "./kit.mjs";
import { Issuer, PUBLIC_SITE, SITE, SITE_SECRET } from "./issuer.mjs";
import { operate, serve } from "./operator.mjs";
import { addOnPage, Browser, title } from "./page.mjs";
import { listen } from "./proxy.mjs";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { env } from "node:process";

const ANN = "idp|ann";
const front = await listen();
const issuer = await Issuer.start(`${front.url}/enroll/callback`);
const client = ["--oauth-client-id", MODE === "public" ? PUBLIC_SITE : SITE];
if (MODE !== "public") {
  const file = join(env.HOME, "client-secret");
  writeFileSync(file, `${SITE_SECRET}\n`, { mode: 0o600 });
  client.push("--oauth-client-secret-file", file);
}
const provider = ["--oauth-issuer", issuer.url, "--oauth-audience", `${front.url}/mcp`, ...client];
const { server, address } = await serve("--public-url", front.url, ...provider);
front.target = address;
await operate("seat", "add", "--email", "bob@example.com", "--auth-subject", "idp|bob");
await operate("seat", "update", SEAT.seat_id, "--no-pin");
const scopes = "codes:read,secrets:read,secrets:write";
const { token } = await operate("key", "create", "--name", "agent", "--seat", SEAT.seat_id, "--scope", scopes);

/** A call over REST. */
async function call(method, path, body) {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const answer = await fetch(`${front.url}/api/v2/totp/${path}`, { method, headers, body: body && JSON.stringify(body) });
  return answer.json();
}

/** Follows a link as a person does, up to the address that leads back from the provider. */
async function away(link, person, browser = new Browser()) {
  const asked = await browser.open(link);
  const sent = await browser.open(`${link}?sign-in`);
  check(`${person}: is sent to the provider`, asked.status === 403 && sent.to?.startsWith(issuer.url), [asked, sent]);
  return { browser, back: await issuer.visit(new URL(sent.to), person) };
}

const begun = await call("POST", "enrollments", { label: "By a person", issuer: "Example" });
check("a person without a PIN is asked", begun.status === "PENDING" && begun.enrollment_url.startsWith(front.url), begun);
const link = begun.enrollment_url;

const bob = await away(link, "idp|bob");
const refused = await bob.browser.open(bob.back);
check("somebody else: refused", refused.status === 403 && title(refused) === "For somebody else", refused);

const stolen = await away(link, ANN);
const elsewhere = await new Browser().open(stolen.back);
check("another browser: refused", elsewhere.status === 403 && title(elsewhere) === "Open the link again", elsewhere);
const forged = new URL(stolen.back);
forged.searchParams.set("state", "x".repeat(43));
const other = await stolen.browser.open(forged);
check("another state: refused", title(other) === "Open the link again", other);

const ann = await away(link, ANN);
check("the provider says which one it is", ann.back.searchParams.get("iss") === issuer.url, ann.back.href);
const kept = new Map(ann.browser.cookies);
const back = await ann.browser.open(ann.back);
check("the person: let in", back.status === 303 && back.to === link, back);
const again = await ann.browser.open(ann.back);
check("the same answer again: refused", title(again) === "Open the link again", again);
const thief = new Browser();
thief.cookies = kept;
const twice = await thief.open(ann.back);
check("the same answer again, with what the browser kept: refused", title(twice) === "Not signed in", twice);

check("the person adds the secret", (await addOnPage(link, SEED, "", ann.browser)) === "Added");
const outcome = await call("POST", "enrollments", { enrollment_id: begun.enrollment_id });
check("the agent learns it", outcome.status === "OK" && !JSON.stringify([begun, outcome]).includes(SEED), outcome);
const since = now();
const { code } = await call("GET", `code/${outcome.totp_secret.id}`);
check("the agent gets a right code", isCode(code, SEED, since), code);

const { rows } = await operate("audit", "list");
const proofs = rows.filter((row) => row.action === "enrol.prove").map((row) => row.outcome);
const expected = ["permission_denied", "unauthenticated", "ok"];
check("the audit log has who was refused and who was let in", expected.every((each) => proofs.includes(each)), proofs);
const seats = new Set(rows.filter((row) => row.action === "enrol.prove" && row.outcome === "ok").map((row) => row.seat_id));
check("the audit log names the person", seats.size === 1 && seats.has(SEAT.seat_id), [...seats]);

const late = await call("POST", "enrollments", { label: "Another" });
const slow = await away(late.enrollment_url, ANN);
issuer.close();
const gone = await slow.browser.open(slow.back);
check("the provider is gone: told so", gone.status === 503 && title(gone) === "Not signed in", gone);

server.kill("SIGTERM");
check("the server ended as asked", (await once(server, "exit"))[0] === 0);
front.close();
finish();
