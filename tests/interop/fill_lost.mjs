// A browser that is gone, hangs, does not answer or loses the tab in the middle of a fill: the agent gets an error in
// time, and the step is given back only if nothing was typed.

import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { execFile, execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, watch } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { check, COMMAND, finish, SEED, SERVER_ENV } from "./kit.mjs";

const FORM = `<form method="post"><label>Verification code <input name="code" autocomplete="one-time-code"></label>
  <button>Verify</button></form>`;
/** What a page does at an event of its field; `tell` has the test do something, and returns when that is done. */
const at = (event, does) => `${FORM}<script>
  const tell = () => { const ask = new XMLHttpRequest(); ask.open("POST", "/tell", false); ask.send(); };
  document.querySelector("input").addEventListener("${event}", () => { ${does} }, { once: true });</script>`;
const PAGES = {
  "/form": FORM,
  "/hangs": at("input", "for (;;);"),
  "/hangs-before": at("focus", "for (;;);"),
  "/closes": at("input", "tell(); for (const until = Date.now() + 3000; Date.now() < until;);"),
  "/busy": `${FORM}<script>setTimeout(() => { for (const until = Date.now() + 2000; Date.now() < until;); });</script>`,
  "/masks": `${FORM}<script>document.querySelector("input").addEventListener("input", ({ target }) =>
    (target.value = "•".repeat(target.value.length)));</script>`,
  "/frames": `<p>One moment</p>${"<iframe src='/frame'></iframe>".repeat(30)}`,
  "/asks": `${FORM}<script>addEventListener("load", () => setTimeout(() => alert("Your session ends soon")));</script>`,
  "/never": `<p>One moment</p><img src="/silence">`,
};

let whenTold = () => {};
const posted = [];
const site = createServer(async (request, response) => {
  if (request.url === "/silence") return;
  if (request.url === "/tell") await whenTold();
  else if (request.method === "POST") posted.push(request.url);
  response.setHeader("content-type", "text/html");
  response.end(`<!doctype html><title>Sign in</title>${PAGES[request.url] ?? ""}`);
}).listen(0, "127.0.0.1");
await once(site, "listening");
const origin = `http://localhost:${site.address().port}`;

const running = new Set();
process.on("exit", () => running.forEach((each) => process.kill(-each.pid, "SIGKILL")));

/** Runs a command with the pipes of a folder, as docs/browsers.md does. */
const PIPED = 'exec "$@" 3<>"$0/to-browser" 4<>"$0/from-browser"';

/** A browser of its own for each case, with the pages that are open in it. */
class Browser {
  static async start(...paths) {
    const browser = new Browser();
    browser.profile = mkdtempSync(join(tmpdir(), "lost-"));
    return browser.run(...paths);
  }

  /** Runs Chromium over the profile, and opens these paths of the site. */
  async run(...paths) {
    const browser = this;
    const file = join(browser.profile, "DevToolsActivePort");
    const flags = ["--headless", "--no-sandbox", "--no-first-run", "--disable-gpu", "--remote-debugging-port=0"];
    const seen = new AbortController();
    const watched = watch(browser.profile, { signal: seen.signal });
    const piped = browser.pipes ? ["--remote-debugging-pipe"] : [];
    const command = ["/usr/bin/chromium", ...flags, ...piped, `--user-data-dir=${browser.profile}`];
    const [program, ...given] = browser.pipes ? ["sh", "-c", PIPED, browser.pipes, ...command] : command;
    browser.process = spawn(program, given, { stdio: "ignore", detached: true });
    running.add(browser.process);
    browser.ended = once(browser.process, "exit").then(() => running.delete(browser.process));
    const isThere = () => existsSync(file) && readFileSync(file, "utf8").split("\n").length > 1;
    while (!isThere()) await once(watched, "change");
    seen.abort();
    browser.port = readFileSync(file, "utf8").split("\n")[0];
    for (const path of paths) await browser.open(path);
    return browser;
  }

  /** A browser for two named pipes, which `run` starts. Its port is for the test alone. */
  static async piped() {
    const browser = new Browser();
    browser.profile = mkdtempSync(join(tmpdir(), "lost-"));
    browser.pipes = join(browser.profile, "pipes");
    mkdirSync(browser.pipes, { mode: 0o700 });
    return browser;
  }

  /** Whether a client holds a session with one of its pages. */
  async isHeld() {
    const { webSocketDebuggerUrl } = await (await this.ask("version")).json();
    const socket = new WebSocket(webSocketDebuggerUrl);
    await once(socket, "open");
    socket.send('{"id":1,"method":"Target.getTargets","params":{"filter":[{"type":"page"}]}}');
    const [{ data }] = await once(socket, "message");
    socket.close();
    return JSON.parse(data).result.targetInfos.some(({ attached }) => attached);
  }

  ask = (path, method = "GET") => fetch(`http://127.0.0.1:${this.port}/json/${path}`, { method });

  /** Opens a page and waits until the browser is there. */
  async open(path) {
    const { id } = await (await this.ask(`new?${origin}${path}`, "PUT")).json();
    this.tab = id;
    const isThere = (tabs) => tabs.some((tab) => tab.id === id && tab.title === "Sign in");
    for (const until = Date.now() + 30_000; !isThere(await (await this.ask("list")).json()); ) {
      if (Date.now() > until) throw new Error(`the browser did not open ${path}`);
    }
  }

  close = () => this.ask(`close/${this.tab}`);
  stop = () => this.process.kill("SIGSTOP");
  go = () => this.process.kill("SIGCONT");

  /** Kills it with its children, which would go on writing into the profile for a while. */
  async kill() {
    if (running.has(this.process)) process.kill(-this.process.pid, "SIGKILL");
    await this.ended;
  }

  async end() {
    await this.kill();
    rmSync(this.profile, { recursive: true });
  }
}

/** A server that takes commands as a browser does, and gives each this answer; `ID` in it is the command's number. */
async function stranger(answer) {
  let asked = 0;
  const server = createServer().listen(0, "127.0.0.1");
  server.on("upgrade", (request, socket) => {
    const key = `${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    const accept = createHash("sha1").update(key).digest("base64");
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`);
    socket.on("data", () => {
      if (answer === null) return socket.destroy();
      // A text of less than 126 bytes, in one frame.
      const text = answer.replace("ID", (asked += 1));
      socket.write(Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text)]));
    });
    socket.on("error", () => {});
  });
  await once(server, "listening");
  return { address: `ws://127.0.0.1:${server.address().port}/devtools/browser/x`, end: () => server.close() };
}

/** An agent whose program has a browser at these addresses. */
async function agentOf(...addresses) {
  const [command, ...given] = COMMAND;
  const client = new Client({ name: "robot", version: "7" });
  const args = [...given, ...addresses.flatMap((each) => ["--browser", each])];
  const transport = new StdioClientTransport({ command, args, env: SERVER_ENV });
  await client.connect(transport);
  const call = async (name, given) => {
    const begun = performance.now();
    const result = await client.callTool({ name, arguments: given }, { timeout: 180_000 });
    const answer = result.structuredContent ?? JSON.parse(result.content[0].text);
    return { ...answer, took: performance.now() - begun };
  };
  return { call, close: () => client.close(), kill: () => process.kill(transport.pid, "SIGKILL") };
}

let secrets = 0;
/** A secret whose steps last long enough for a case. */
async function enrol({ call }) {
  const given = { label: `lost ${(secrets += 1)}`, secret: SEED, period: 600, origins: [origin] };
  return (await call("register_totp_secret", given)).totp_secret.id;
}

const fillOf = ({ call }, secret_id, max_wait, page = undefined) =>
  call("fill_totp_code", { secret_id, page, max_wait, min_validity: 0 });
/** Whether the present step is still free. */
async function isFree({ call }, secret_id) {
  const answer = await call("get_totp_code", { secret_id, single_use: true, max_wait: 0, min_validity: 0 });
  return answer.code !== undefined;
}

/** Checks one case: what a fill answers, how long it takes, and what became of the step. */
async function lose(name, path, { before = () => {}, told = () => {}, after = () => {}, says, words, within, given, max_wait = 4 }) {
  const browser = await Browser.start(path);
  const agent = await agentOf(browser.profile);
  const secret = await enrol(agent);
  posted.length = 0;
  await before(browser);
  whenTold = () => told(browser);
  const answer = await fillOf(agent, secret, max_wait);
  check(`${name}: ${says}`, answer.error === says && words.test(answer.message), answer);
  check(`${name}: in time`, answer.took < within, answer.took);
  check(`${name}: the step is ${given ? "given back" : "used"}`, (await isFree(agent, secret)) === given);
  check(`${name}: nothing was submitted`, posted.length === 0, posted);
  await after(browser);
  await agent.close();
  await browser.end();
}

/** Milliseconds for a call that waits four seconds at most. */
const IN_TIME = 4900;
await lose("a browser that is gone", "/form", { before: (browser) => browser.kill(), says: "unavailable", words: /nothing was typed/, within: 3000, given: true });
await lose("a browser that hangs", "/form", { before: (browser) => browser.stop(), says: "unavailable", words: /nothing was typed/, within: 3500, given: true, max_wait: 2 });
await lose("a tab that is gone", "/form", { before: (browser) => browser.close(), says: "wrong_origin", words: /localhost/, within: 3500, given: true });
await lose("a page that hangs at a digit", "/hangs", { says: "unavailable", words: /counts as used/, within: IN_TIME, given: false });
await lose("a page that hangs before", "/hangs-before", { says: "unavailable", words: /counts as used/, within: IN_TIME, given: false });
await lose("a tab that is closed at a digit", "/closes", { told: (browser) => browser.close(), says: "unavailable", words: /counts as used/, within: IN_TIME, given: false });
await lose("a browser that ends at a digit", "/closes", { told: (browser) => browser.kill(), says: "unavailable", words: /counts as used/, within: IN_TIME, given: false });
await lose("a browser that hangs at a digit", "/closes", { told: (browser) => browser.stop(), says: "unavailable", words: /counts as used/, within: IN_TIME, given: false });
await lose("a page with an open dialogue", "/asks", { says: "unavailable", words: /dialogue.*nothing was typed/, within: IN_TIME, given: true });
await lose("a page that shows something else", "/masks", { says: "unavailable", words: /counts as used/, within: IN_TIME, given: false });
await lose("a page that never settles", "/never", { says: "invalid_argument", words: /has no field/, within: 11_500, given: true, max_wait: 60 });

for (const [name, answer] of Object.entries({
  "answers no JSON": "x",
  "answers nothing that was asked": "{}",
  "answers in another form": '{"id":ID,"result":{"targetInfos":"none"}}',
  "refuses all": '{"id":ID,"error":{"code":-32601,"message":"no"}}',
  "has no page": '{"id":ID,"result":{"targetInfos":[]}}',
  "ends the connection": null,
})) {
  const { address, end } = await stranger(answer);
  const agent = await agentOf(address);
  const secret = await enrol(agent);
  const told = await fillOf(agent, secret, 2);
  const says = name === "has no page" ? "wrong_origin" : "unavailable";
  check(`a browser that ${name}: ${says}`, told.error === says && /nothing was typed/.test(told.message) && told.took < 3500, told);
  check(`a browser that ${name}: the step is given back`, await isFree(agent, secret));
  await agent.close();
  end();
}

// A browser that was stopped and goes on is filled as before.
const browser = await Browser.start("/form");
const agent = await agentOf(browser.profile);
const secret = await enrol(agent);
browser.stop();
const refused = await fillOf(agent, secret, 1);
browser.go();
const filled = await fillOf(agent, secret, 10);
check("a browser that goes on: filled", refused.error === "unavailable" && filled.status === "SUBMITTED", { refused, filled });

// An origin that a person takes away while the call waits for the next step gets no code.
await browser.open("/form");
const person = async (...args) => (await promisify(execFile)(COMMAND[0], args, { env: { ...process.env, ...SERVER_ENV } })).stdout;
const short = { label: "taken away", secret: SEED, period: 20, origins: [origin] };
const taken = (await agent.call("register_totp_secret", short)).totp_secret.id;
const first = await agent.call("get_totp_code", { secret_id: taken, single_use: true, min_validity: 10, max_wait: 30 });
const rows = async (action) => JSON.parse(await person("audit", "list", "--secret", taken, "--action", action, "--json")).rows.length;
/** Waits for one row more, for ten seconds at most. */
const another = async (action, before) => {
  for (const until = Date.now() + 10_000; (await rows(action)) === before && Date.now() < until; );
};
const [reserved, released] = [await rows("code.reserve"), await rows("code.release")];
posted.length = 0;
const waiting = fillOf(agent, taken, 30, browser.tab);
await another("code.reserve", reserved);
await person("secret", "update", taken, "--origin", "https://example.com");
const late = await waiting;
check("an origin that is taken away: refused", first.code && late.error === "wrong_origin" && late.took > 1000, { first, late });
check("an origin that is taken away: nothing was submitted", posted.length === 0, posted);
await another("code.release", released);
const told = await agent.call("get_totp_code", { secret_id: taken, single_use: true, max_wait: 0, min_validity: 0 });
check("an origin that is taken away: the step is given back", told.code, told);
await agent.close();
await browser.end();

// A browser that is named twice is one, and only some of many frames are named to an agent.
const crowded = await Browser.start("/frames");
const twice = await agentOf(crowded.profile, `127.0.0.1:${crowded.port}`);
const mine = await enrol(twice);
const { candidates } = await fillOf(twice, mine, 3);
check("many frames: some are named", candidates?.length > 1 && candidates.length < 20, candidates?.length);
check("a browser that is named twice: each page once", new Set(candidates.map(({ page }) => page)).size === candidates.length);
await crowded.close();
await crowded.open("/form");
const found = await fillOf(twice, mine, 10);
check("a browser that is named twice: filled", found.status === "SUBMITTED", found);
await crowded.close();
await crowded.open("/busy");
const busy = await fillOf(twice, await enrol(twice), 10);
check("a page that is busy at first: filled", busy.status === "SUBMITTED", busy);
await twice.close();
await crowded.end();

// A browser with two named pipes. The programs that use it share one connection to it, so they take turns.
const piped = await Browser.piped();
const agents = [await agentOf(`pipe:${piped.pipes}`), await agentOf(`pipe:${piped.pipes}`)];
const ours = await enrol(agents[0]);
const [nowhere] = agents;
const unmade = await fillOf(nowhere, ours, 2);
check("no pipes: unavailable, with the command that makes them", unmade.error === "unavailable" && /mkfifo/.test(unmade.message), unmade);
const typo = join(piped.profile, "typo");
const mistyped = await agentOf(`pipe:${typo}`);
const lost = await fillOf(mistyped, ours, 2);
check("a mistyped folder: unavailable, and not made", lost.error === "unavailable" && /can't be opened/.test(lost.message) && !existsSync(typo), lost);
mkdirSync(typo, { mode: 0o700 });
execFileSync("mkfifo", ["to-browser", "from-browser"], { cwd: typo });
const newer = await fillOf(mistyped, ours, 2);
check("a folder that is newer than the program: unavailable", newer.error === "unavailable" && /restart|no browser reads/.test(newer.message), newer);
await mistyped.close();
execFileSync("mkfifo", ["to-browser", "from-browser"], { cwd: piped.pipes });
const unread = await fillOf(nowhere, ours, 2);
check("no browser at the pipes: unavailable", unread.error === "unavailable" && /3<>to-browser/.test(unread.message), unread);
await piped.run(...Array(8).fill("/form"));
const several = await fillOf(nowhere, ours, 5);
check("pages of a browser with pipes: named", several.candidates?.length === 8, several);
posted.length = 0;
const filledAll = await Promise.all(
  several.candidates.map(async ({ page }, nth) => {
    const agent = agents[nth % 2];
    return fillOf(agent, await enrol(agent), 30, page);
  }),
);
check("two programs, eight pages, one pair of pipes: filled", filledAll.every(({ status }) => status === "SUBMITTED"), filledAll);
check("two programs, eight pages: each code once", posted.length === 8, posted);
check("no session is left", !(await piped.isHeld()));
await piped.open("/closes");
const inTheMiddle = new Promise((resolve) => (whenTold = () => resolve(agents[1].kill())));
const cut = fillOf(agents[1], await enrol(agents[1]), 10, piped.tab).catch(() => "killed");
await inTheMiddle;
check("a program that is killed in the middle", (await cut) === "killed");
await piped.close();
await piped.open("/form");
const later = await fillOf(nowhere, await enrol(nowhere), 10, piped.tab);
check("the next program goes on", later.status === "SUBMITTED", later);
piped.stop();
const hung = await fillOf(nowhere, await enrol(nowhere), 2);
check("a browser with pipes that hangs: unavailable in time", hung.error === "unavailable" && hung.took < 3500, hung);
await piped.kill();
const ended = await fillOf(nowhere, await enrol(nowhere), 2);
check("a browser with pipes that is gone: unavailable", ended.error === "unavailable" && /nothing was typed/.test(ended.message), ended);
await nowhere.close();
await piped.end();
site.close();
site.closeAllConnections();
finish();
