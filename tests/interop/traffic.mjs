// Seeds that a person adds on a page, or imports, pass no agent: all bytes between a real client and the server, the log at
// its most talkative, all that the command line prints, and every file are searched for them, in every spelling.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { once } from "node:events";
import { check, COMMAND, finish, isCode, MODE, now, PIN, SEAT, SERVER_ENV } from "./kit.mjs";
import { operate, start } from "./operator.mjs";
import { addOnPage } from "./page.mjs";
import { Record } from "./record.mjs";

const env = { ...process.env, ...SERVER_ENV, COUNTERSIGN_LOG: "trace", RUST_LOG: "trace", RUST_BACKTRACE: "1" };
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** 20 bytes, not all of them text. */
const seed = (name) => createHash("sha1").update(`traffic ${name}`).digest();
const bits = (bytes) => [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
const base32 = (bytes) => bits(bytes).match(/.{5}/g).map((five) => ALPHABET[Number.parseInt(five, 2)]).join("");
const grouped = (text, size, by) => text.match(new RegExp(`.{1,${size}}`, "g")).join(by);

/** Everything by which a seed could be known, each long enough not to occur by chance. */
function spellings(bytes) {
  const [letters, hex, numbers] = [base32(bytes), bytes.toString("hex"), [...bytes]];
  const texts = {
    ...Object.fromEntries([0, 16].map((at) => [`base32 from ${at}`, letters.slice(at, at + 16)])),
    ...Object.fromEntries([" ", "-", "+", "%20", "\u00a0", "%C2%A0"].map((by) => [`base32 by ${by}`, grouped(letters, 4, by)])),
    ...Object.fromEntries([0, 20].map((at) => [`hex from ${at}`, hex.slice(at, at + 20)])),
    ...Object.fromEntries([" ", ":", "\\x", "%"].map((by) => [`hex by ${by}`, grouped(hex, 2, by)])),
    base64: bytes.toString("base64").slice(0, 26),
    base64url: bytes.toString("base64url").slice(0, 26),
    "base64 of the base32": Buffer.from(letters).toString("base64"),
    "hex of the base32": Buffer.from(letters).toString("hex"),
    numbers: numbers.join(","),
    "spaced numbers": numbers.join(", "),
  };
  const found = Object.entries(texts).flatMap(([name, text]) => [
    [name, Buffer.from(text)],
    [`${name}, lower case`, Buffer.from(text.toLowerCase())],
    [`${name}, upper case`, Buffer.from(text.toUpperCase())],
  ]);
  found.push(["the bytes", bytes.subarray(0, 10)], ["the other bytes", bytes.subarray(10)]);
  found.push(["UTF-16", Buffer.from(letters, "utf16le")], ["UTF-8 of the bytes", Buffer.from(bytes.toString("latin1"))]);
  return found;
}

const SEEDS = Object.fromEntries(["page", "link", "rest", "list", "app"].map((name) => [name, seed(name)]));
const NEEDLES = Object.entries(SEEDS).flatMap(([of, bytes]) => spellings(bytes).map(([name, needle]) => [`${of}: ${name}`, needle]));
const holds = (haystack) => NEEDLES.filter(([, needle]) => haystack.includes(needle)).map(([name]) => name);

function searched(where, haystack, least) {
  check(`${where}: recorded`, haystack.length >= least, haystack.length);
  check(`${where}: no seed`, holds(haystack).length === 0, holds(haystack));
}

/** Every file in a folder, at any depth. */
function files(folder) {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    const facts = statSync(path, { throwIfNoEntry: false });
    return facts === undefined ? [] : facts.isDirectory() ? files(path) : [path];
  });
}

/** The bytes of a file; empty if it was renamed meanwhile, as a file is that replaces another. */
function bytesOf(path) {
  try {
    return readFileSync(path);
  } catch (error) {
    if (error.code === "ENOENT") return Buffer.alloc(0);
    throw error;
  }
}

function searchFiles(when) {
  const all = files(dirname(SERVER_ENV.COUNTERSIGN_DATA_DIR));
  check(`files ${when}: the vault is among them`, all.some((path) => path.endsWith("vault.db")), all);
  for (const path of all) check(`${path.split("/").at(-1)} ${when}: no seed`, holds(bytesOf(path)).length === 0, path);
}

// Checks the search itself: that it finds nothing anywhere would not be noticed otherwise.
const told = [base32(SEEDS.page), SEEDS.link.toString("hex").toUpperCase(), SEEDS.list, grouped(base32(SEEDS.app).toLowerCase(), 4, " ")];
for (const text of told) check("the search finds a seed", holds(Buffer.from(text)).length > 0, text);

const agent = new Record();
const person = new Record();
let [server, wire, token] = [null, null, null];

/** The client of an agent; every byte of its connection is recorded. */
async function connected() {
  const client = new Client({ name: "traffic", version: "1.0.0" });
  if (MODE === "stdio") {
    const transport = new StdioClientTransport({ ...agent.command(COMMAND), env, stderr: "inherit" });
    await client.connect(transport);
    return client;
  }
  wire = await agent.before("agent");
  server = await start(env, "--public-url", wire.url);
  wire.target = server.address;
  ({ token } = await operate("key", "create", "--name", "agent", "--scope", "codes:read,secrets:read,secrets:write"));
  const requestInit = { headers: { Authorization: `Bearer ${token}` } };
  await client.connect(new StreamableHTTPClientTransport(new URL(`${wire.url}/mcp`), { requestInit }));
  return client;
}

const client = await connected();
const call = async (name, args) => (await client.callTool({ name, arguments: args })).structuredContent;

/** A call of an agent that uses REST, over the same recorded connection. */
async function rest(method, path, body) {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  return (await fetch(`${wire.url}/api/v2/totp/${path}`, { method, headers, body: body && JSON.stringify(body) })).json();
}
const enroll = (args) => call("enroll_totp_secret", args);

/** The person's own way to the page, which no agent sees. */
const own = await person.before("person");
async function add(key, ask = enroll) {
  const pending = await ask({ issuer: "Example", label: "person", ...(MODE === "http" && { seat_id: SEAT.seat_id }) });
  const url = new URL(pending.enrollment_url);
  own.target = MODE === "stdio" ? url.origin : wire.target;
  const [outcome, page] = await Promise.all([
    ask({ enrollment_id: pending.enrollment_id }),
    addOnPage(own.url + url.pathname, key, PIN),
  ]);
  check("a person adds a secret", page === "Added" && outcome.status === "OK", [page, outcome]);
  return outcome.totp_secret.id;
}

async function codes(id, bytes) {
  const since = now();
  const { code } = await call("get_totp_code", { secret_id: id });
  check("the agent gets a right code", isCode(code, base32(bytes), since), code);
}

await codes(await add(grouped(base32(SEEDS.page).toLowerCase(), 4, " ")), SEEDS.page);
await codes(await add(`otpauth://totp/Example:link?secret=${base32(SEEDS.link)}&issuer=Example`), SEEDS.link);

if (MODE === "http") {
  const id = await add(base32(SEEDS.rest), (args) => rest("POST", "enrollments", args));
  const since = now();
  const { code } = await rest("GET", `code/${id}`);
  check("the agent gets a right code over REST", isCode(code, base32(SEEDS.rest), since), code);
  check("over REST, the secrets are listed", (await rest("GET", "secrets")).totp_secrets.length === 3);
}

const list = join(person.folder, "list.txt");
writeFileSync(list, `otpauth://totp/List:one?secret=${base32(SEEDS.list)}&issuer=List\n`);
const app = join(person.folder, "aegis.json");
const entry = { type: "totp", uuid: "a", name: "two", issuer: "App", info: { secret: base32(SEEDS.app), algo: "SHA1", digits: 6, period: 30 } };
writeFileSync(app, JSON.stringify({ version: 1, header: { slots: null, params: null }, db: { version: 2, entries: [entry] } }));
for (const more of [["--dry-run"], ["--yes"], ["--yes", "--json"]]) {
  const ran = spawnSync(COMMAND[0], ["secret", "import", list, app, ...more], { env });
  check(`import ${more.join(" ")}`, ran.status === 0, ran.stderr.toString().slice(-500));
  searched(`what import ${more.join(" ")} prints`, Buffer.concat([ran.stdout, ran.stderr]), 100);
}
const imported = (await call("list_totp_secrets", { query: "two" })).totp_secrets;
check("the agent finds what was imported", imported.length === 1, imported);
await codes(imported[0].id, SEEDS.app);

searchFiles("while it serves");
await client.close();
if (server) {
  server.server.kill("SIGTERM");
  await once(server.server, "close");
  wire.close();
}
own.close();
searchFiles("at the end");
const [asked, answered] = MODE === "stdio" ? ["in", "out"] : ["agent in", "agent out"];
searched("all that the agent's client sent", agent.read(asked), 500);
searched("all that it was answered", agent.read(answered), 3000);
searched("the log", MODE === "stdio" ? agent.read("log") : Buffer.concat(server.said), 500);
searched("all that the page showed", person.read("person out"), 5000);
const forms = holds(person.read("person in"));
check("the forms of the person: the seeds", forms.some((name) => name.startsWith("page")) && forms.some((name) => name.startsWith("link")), forms);
for (const record of [agent, person]) record.remove();
finish();
