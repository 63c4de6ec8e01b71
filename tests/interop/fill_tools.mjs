// Logins by agents' real browser tools, with codes that Countersign fills: nothing that a model would see contains a
// code. No model takes part: this calls the tools as a model would, and records their answers.
//
// FILL=full makes a hundred logins instead of one. The transcripts are in target/fill-transcripts.

import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execPath } from "node:process";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { Site } from "./fill_tools_site.mjs";
import { check, COMMAND, finish, MODE, SERVER_ENV } from "./kit.mjs";

const LOGINS = process.env.FILL === "full" ? 100 : 1;
// Milliseconds that a page may take to show an expected text.
const DEADLINE = 20_000;
const target = (path) => new URL(`../../target/${path}`, import.meta.url).pathname;
const bin = (name) => new URL(`node_modules/.bin/${name}`, import.meta.url).pathname;
const version = (name) =>
  JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url))).version;

// Where the tools write: a model could read it, so it counts as seen.
const work = mkdtempSync(join(tmpdir(), "fill-"));
process.on("exit", () => {
  // A browser's last processes briefly write into its profile after it has ended.
  for (let tries = 0; tries < 20 && existsSync(work); tries += 1) {
    try {
      rmSync(work, { recursive: true, force: true });
    } catch {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
    }
  }
});
const profile = join(work, "profile");
// Keeps the tools from sending requests to their makers.
const quiet = {
  ANONYMIZED_TELEMETRY: "false",
  BROWSER_USE_CLOUD_SYNC: "false",
  BROWSER_USE_VERSION_CHECK: "false",
  CHROME_DEVTOOLS_MCP_NO_UPDATE_CHECKS: "1",
  CHROME_DEVTOOLS_MCP_NO_USAGE_STATISTICS: "1",
};
const environment = { ...process.env, ...SERVER_ENV, ...quiet, TMPDIR: work };

/** A browser as a person starts one for agents: it takes commands on a port. */
async function openBrowser() {
  const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"];
  const more = ["--disable-component-update", "--disable-sync", "--remote-debugging-port=0", `--user-data-dir=${profile}`];
  const browser = spawn("/usr/bin/chromium", [...flags, ...more, "about:blank"], { stdio: ["ignore", "ignore", "pipe"] });
  // Ends the browser before its profile is removed.
  process.prependListener("exit", () => browser.kill("SIGKILL"));
  for await (const line of createInterface({ input: browser.stderr })) {
    const at = line.match(/DevTools listening on ws:\/\/([^/]+)\//)?.[1];
    if (!at) continue;
    browser.stderr.resume();
    return { process: browser, url: `http://${at}` };
  }
  throw new Error("the browser did not start");
}

/** What a model sees of a login: each call, and its answer. */
class Transcript {
  lines = [];

  tell(line) {
    this.lines.push(JSON.stringify(line));
  }

  text = () => this.lines.join("\n");

  /** Whether it contains a code: its digits, however they are spaced, and not as a part of a longer number. */
  holds = (code) => new RegExp(`(?<!\\d)${[...code].join("[\\s\\-.]?")}(?!\\d)`).test(this.text());
}

let transcript = new Transcript();

/** An MCP server, as a host connects to it. */
class Server {
  static async start(command, args, env = environment) {
    const server = new Server();
    server.client = new Client({ name: "fill", version: "1" });
    await server.client.connect(new StdioClientTransport({ command, args, env, cwd: work, stderr: "ignore" }));
    return server;
  }

  async call(name, args = {}) {
    const result = await this.client.callTool({ name, arguments: args }, { timeout: 120_000 });
    transcript.tell({ tool: name, arguments: args, result });
    const text = result.content.map((part) => part.text ?? "").join("\n");
    if (result.isError) throw new Error(`${name}: ${text}`);
    return text;
  }

  close = () => this.client.close();
}

const found = (text, pattern) => text.match(pattern)?.[1] ?? fail(`${pattern} is not in ${text}`);

function fail(message) {
  throw new Error(message);
}

/** Playwright MCP, beside Countersign's sidecar. */
class Playwright {
  static title = `@playwright/mcp ${version("@playwright/mcp")}`;

  async start(browser, countersign) {
    this.countersign = countersign;
    this.server = await Server.start(execPath, [bin("playwright-mcp"), "--cdp-endpoint", browser]);
  }

  open = (url) => this.server.call("browser_navigate", { url });
  look = () => this.server.call("browser_snapshot");

  async enter(user) {
    const page = await this.look();
    const field = found(page, /textbox "User name".*\[ref=(\w+)\]/);
    await this.server.call("browser_type", { element: "User name", target: field, text: user });
    await this.server.call("browser_click", { element: "Next", target: found(page, /button "Next".*\[ref=(\w+)\]/) });
  }

  fill = (secret, more) => this.countersign.call("fill_totp_code", { secret_id: secret, ...more });
  close = () => this.server.close();
}

/** Chrome DevTools MCP, beside Countersign's sidecar. */
class DevTools {
  static title = `chrome-devtools-mcp ${version("chrome-devtools-mcp")}`;

  async start(browser, countersign) {
    this.countersign = countersign;
    this.server = await Server.start(execPath, [bin("chrome-devtools-mcp"), "--browserUrl", browser]);
    this.page = { pageId: Number(found(await this.server.call("list_pages"), /^(\d+): /m)) };
  }

  open = (url) => this.server.call("navigate_page", { ...this.page, type: "url", url });
  look = () => this.server.call("take_snapshot", this.page);

  async enter(user) {
    const page = await this.look();
    await this.server.call("fill", { ...this.page, uid: found(page, /uid=(\w+) textbox "User name"/), value: user });
    await this.server.call("click", { ...this.page, uid: found(page, /uid=(\w+) button "Next"/) });
  }

  fill = (secret, more) => this.countersign.call("fill_totp_code", { secret_id: secret, ...more });
  close = () => this.server.close();
}

/** agent-browser's own MCP server; Countersign is its plugin. */
class AgentBrowser {
  static title = `agent-browser ${version("agent-browser")}`;

  async start(browser) {
    const args = ["plugin", "agent-browser", "--browser", browser];
    const capabilities = ["credential.read", "command.run", "totp.fill"];
    const plugins = JSON.stringify([{ name: "countersign", command: COMMAND[0], args, capabilities }]);
    // Its daemon must not outlive this judge, however the judge ends.
    const at = { AGENT_BROWSER_CDP: new URL(browser).port, AGENT_BROWSER_PLUGINS: plugins };
    const mine = { ...at, AGENT_BROWSER_IDLE_TIMEOUT_MS: "120000" };
    const words = [bin("agent-browser"), "mcp", "--tools", "core,state,debug"];
    this.server = await Server.start(execPath, words, { ...environment, ...mine });
  }

  open = (url) => this.server.call("agent_browser_open", { url });
  look = () => this.server.call("agent_browser_snapshot", { interactive: false });

  async enter(user) {
    const page = await this.look();
    const field = found(page, /textbox "User name".*ref=(\w+)/);
    await this.server.call("agent_browser_fill", { selector: `@${field}`, text: user });
    await this.server.call("agent_browser_click", { selector: `@${found(page, /button "Next".*ref=(\w+)/)}` });
  }

  fill(secret, more) {
    const payload = { secret, ...more };
    return this.server.call("agent_browser_plugin_run", { name: "countersign", requestType: "totp.fill", payload });
  }

  async close() {
    await this.server.call("agent_browser_close");
    await this.server.close();
  }
}

/** agent-browser, which types the code itself: the plugin hands it over as a credential. */
class Credential extends AgentBrowser {
  static title = `${AgentBrowser.title}, auth login`;

  fill(secret, { submit } = {}) {
    const named = ["--credential-provider", "countersign", "--item", secret, "--url", site.origin];
    // A button that is not there: then the code stays in the page, which is what this way can't prevent.
    const button = submit === false ? ["--submit-selector", "#none"] : [];
    const extraArgs = [...named, ...button];
    return this.server.call("agent_browser_auth_login", { name: "account", noNavigate: true, extraArgs });
  }
}

const WITH_CALLS = { playwright: Playwright, "chrome-devtools": DevTools, "agent-browser": AgentBrowser, credential: Credential };

/** Waits until a look at the page shows something. */
async function shows(tool, text) {
  const end = Date.now() + DEADLINE;
  let seen;
  do seen = await tool.look();
  while (!seen.includes(text) && Date.now() < end);
  return seen.includes(text);
}

/** Adds an account to the site, and its secret to the vault. */
async function account(name) {
  const seed = [...randomBytes(32)].map((byte) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[byte % 32]).join("");
  site.add(name, seed);
  const registration = { label: name, issuer: "Site", secret: seed, origins: [site.origin] };
  const { structuredContent } = await countersign.client.callTool({ name: "register_totp_secret", arguments: registration });
  return { user: name, secret: structuredContent.totp_secret.id };
}

function keep(name, text) {
  mkdirSync(target("fill-transcripts"), { recursive: true });
  writeFileSync(target(`fill-transcripts/${name}.jsonl`), `${text}\n`);
}

/** The contents of every file in a folder, without the browser's own profile. */
function written(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return path === profile ? [] : written(path);
    return entry.isFile() ? [readFileSync(path, "latin1")] : [];
  });
}

/** Looks for each code in what was seen during its login, and in all that was written. */
function judge(title, logins) {
  const codeOf = (user) => site.tried.find((each) => each.user === user)?.code;
  const bad = logins.filter(({ user }) => site.logins(user) !== 1).map(({ user }) => user);
  check(`${title}: ${logins.length} logged in, each with one code`, bad.length === 0 && site.tried.length === logins.length, bad);
  if (bad.length > 0) fail(logins[0].seen.text().slice(-4000));
  const leaks = logins.filter(({ user, seen }) => seen.holds(codeOf(user))).map(({ user }) => user);
  check(`${title}: no code in what the model saw`, leaks.length === 0, leaks);
  const files = new Transcript();
  files.lines = [work, SERVER_ENV.HOME].flatMap(written);
  const kept = logins.filter(({ user }) => files.holds(codeOf(user))).map(({ user }) => user);
  check(`${title}: no code in what was written`, kept.length === 0, kept);
}

/** Logs in by a tool's calls. */
async function byCalls(name) {
  const tool = new WITH_CALLS[name]();
  const title = WITH_CALLS[name].title;
  await tool.start(browser.url, countersign);
  const logins = [];
  for (let nth = 1; nth <= LOGINS; nth += 1) {
    const { user, secret } = await account(`ann-${nth}`);
    await reach(tool, site.origin, user);
    const answer = await tool.fill(secret);
    const says = answer.includes(site.origin) && answer.includes("SUBMITTED");
    // agent-browser reports no more than that it pressed a button.
    if (name !== "credential") check(`${title}: the answer says where`, says, answer);
    check(`${title}: the model sees that it is logged in`, await shows(tool, `${user} is logged in`));
    logins.push({ user, seen: transcript });
  }
  judge(title, logins);
  keep(name, logins.map(({ seen }) => seen.text()).join("\n"));
  const refused = await account("cy");
  await reach(tool, LOOKALIKE, refused.user);
  const told = await tool.fill(refused.secret).catch((error) => error.message);
  check(`${title}: on another origin it is refused`, !told.includes("SUBMITTED") && (await standing()) === undefined, told);
  // A control that the search looks where codes would be: a code that is not submitted is seen.
  const { user, secret } = await account("bob");
  await reach(tool, site.origin, user);
  await tool.fill(secret, { submit: false }).catch(() => null);
  const code = await standing();
  await tool.look();
  check(`${title}: a code that is not submitted is seen`, code && transcript.holds(code), transcript.text().slice(-2000));
  keep(`${name}-not-submitted`, transcript.text());
  await tool.close();
}

/** Goes to the page that requests a code, in a transcript of its own. */
async function reach(tool, origin, user) {
  transcript = new Transcript();
  await tool.open(origin);
  await tool.enter(user);
  if (!(await shows(tool, "Verification code"))) fail("the site did not ask for a code");
}

/** The code in a page's field, as the browser itself reports it. */
async function standing() {
  const { chromium } = await import("playwright-core");
  const over = await chromium.connectOverCDP(browser.url);
  const pages = over.contexts().flatMap((context) => context.pages());
  const values = await Promise.all(pages.map((page) => page.locator("[name=otp]").inputValue({ timeout: 5000 }).catch(() => "")));
  await over.close();
  return values.find(Boolean);
}

/** Logs in by an agent of browser-use, with a script in the model's place. */
async function byBrowserUse() {
  const python = target("interop-frameworks/fill_browser_use/bin/python");
  const show = "import importlib.metadata as m; print(m.version('browser-use'))";
  const title = `browser-use ${(await promisify(execFile)(python, ["-c", show])).stdout.trim()}`;
  const accounts = [];
  for (let nth = 1; nth <= LOGINS; nth += 1) accounts.push(await account(`ann-${nth}`));
  const seen = await browserUse(python, accounts.map(({ user, secret }) => [user, secret, true, site.origin]));
  const logins = accounts.map(({ user }) => ({ user, seen: seen.get(user) ?? fail(`${user} was not tried`) }));
  judge(title, logins);
  const told = (user) => [`filled in and submitted on ${site.origin}`, `${user} is logged in`];
  const silent = logins.filter(({ user, seen }) => !told(user).every((words) => seen.text().includes(words)));
  check(`${title}: the model is told where, and sees that it is logged in`, silent.length === 0, silent.map(({ user }) => user));
  keep("browser-use", logins.map(({ seen }) => seen.text()).join("\n"));
  const refused = await account("cy");
  const on = (await browserUse(python, [[refused.user, refused.secret, true, LOOKALIKE]])).get(refused.user);
  check(`${title}: on another origin it is refused`, on.text().includes("wrong_origin") && (await standing()) === undefined);
  const { user, secret } = await account("bob");
  const control = (await browserUse(python, [[user, secret, false, site.origin]])).get(user);
  const code = await standing();
  check(`${title}: a code that is not submitted is seen`, code && control.holds(code), control.text().slice(-2000));
  keep("browser-use-not-submitted", control.text());
}

/** Logs in, and returns what the model of each login saw. */
async function browserUse(python, logins) {
  const mine = { FILL_CDP: browser.url, FILL_PROGRAM: COMMAND[0], FILL_LOGINS: JSON.stringify(logins) };
  const script = new URL("fill_browser_use.py", import.meta.url).pathname;
  const { stdout } = await promisify(execFile)(python, [script], { env: { ...environment, ...mine }, maxBuffer: 2 ** 30 });
  const lines = stdout.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
  return new Map(
    lines.map(({ user, shown, kept }) => {
      const seen = new Transcript();
      for (const text of [...shown, kept]) seen.tell(text);
      return [user, seen];
    }),
  );
}

const site = await Site.start();
/** The same site under another origin. */
const LOOKALIKE = site.origin.replace("127.0.0.1", "localhost");
const browser = await openBrowser();
const [program, ...words] = COMMAND;
const countersign = await Server.start(program, [...words, "--browser", browser.url]);
if (MODE === "browser-use") await byBrowserUse();
else await byCalls(MODE);
await countersign.close();
site.close();
// The browser writes into its profile until it has ended.
browser.process.kill();
await once(browser.process, "exit");
finish();
