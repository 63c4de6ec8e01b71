// A browser behind the guard: a decoy is typed, the site gets a code, and nothing that the browser holds shows the
// code.
// FILL=full makes a hundred logins.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { check, COMMAND, finish, SERVER_ENV } from "./kit.mjs";
import { Site } from "./fill_site.mjs";
import { Agent, openBrowser, operate } from "./page_kit.mjs";

const folder = mkdtempSync(join(tmpdir(), "guard-"));
const site = await Site.start();
const secure = `https://localhost:${site.secure}`;
const plain = `http://localhost:${site.http}`;
const agent = await Agent.start();

async function ask(name, given) {
  const result = await agent.client.callTool({ name, arguments: given });
  if (result.isError) throw new Error(result.content[0].text);
  return result.structuredContent;
}

const form = (name) => `<!doctype html><title>Verify</title><form method="post" action="/verify/${name}">
  <input name="code" autocomplete="one-time-code"><button>Verify</button></form>`;
const json = (name) => `<!doctype html><title>Verify</title><input name="code"><button>Verify</button><script>
  document.querySelector("button").onclick = async () => {
    const body = JSON.stringify({ code: document.querySelector("input").value });
    const answer = await fetch("/verify/${name}", { method: "POST", headers: { "content-type": "application/json" }, body });
    document.title = (await answer.json()).holds ? "Signed in" : "Not signed in";
  };</script>`;

// A site that shows the code that it was sent.
const echo = (name) => form(name).replace("/verify/", "/echoed/");
const shown = (digits) => `<!doctype html><title>Signed in</title><p style="font: 40px monospace">${digits}</p>`;
const answerOf = (account) => (request, response) => {
  void request.toArray().then((chunks) => {
    account.sent = new URLSearchParams(Buffer.concat(chunks).toString()).get("code");
    account.take(account.sent);
    site.send(response, shown(account.sent));
    site.emit(`ended ${account.name}`);
  });
};

const KINDS = [
  ["form", secure, form, 6],
  ["json", secure, json, 8],
  ["plain", plain, form, 6],
  ["echo", secure, echo, 6],
];
const ROUNDS = process.env.FILL === "full" ? 25 : 1;
const cases = [];
for (const [at, [kind, origin, page, digits]] of Array(ROUNDS).fill(KINDS).flat().entries()) {
  const name = `${kind}${at}`;
  const account = site.account(name, digits);
  site.show(`/${name}`, page(name));
  site.show(`/echoed/${name}`, answerOf(account));
  const made = await ask("register_totp_secret", { label: name, secret: account.seed, digits, origins: [origin] });
  cases.push({ account, url: `${origin}/${name}`, id: made.totp_secret.id });
}

const roots = join(folder, "site.pem");
writeFileSync(roots, site.certificate);
const { spki_sha256 } = await operate("guard", "ca");
const guard = spawn(COMMAND[0], ["guard", "--listen", "127.0.0.1:0", "--ca", roots], {
  env: { ...process.env, ...SERVER_ENV },
  stdio: ["ignore", "ignore", "pipe"],
});
process.on("exit", () => guard.kill());
const lines = createInterface({ input: guard.stderr });
const [line] = await once(lines, "line");
const proxy = line.match(/guarding on (\S+)/)[1];
const browser = await openBrowser(
  `--proxy-server=${proxy}`,
  "--proxy-bypass-list=<-loopback>",
  `--ignore-certificate-errors-spki-list=${spki_sha256}`,
);

/** A screenshot of a page with these digits, in the same browser. */
async function picture(digits) {
  const page = await browser.newPage();
  await page.setContent(shown(digits));
  const png = await page.screenshot();
  await page.close();
  return png;
}

const shows = (text, codes) => codes.filter((code) => text.includes(code));
for (const { account, url, id } of cases) {
  const har = join(folder, `${account.name}.har`);
  const context = await browser.newContext({ recordHar: { path: har, content: "embed" } });
  const page = await context.newPage();
  await page.goto(url);
  const { code: decoy } = await ask("get_totp_code", { secret_id: id, decoy: true });
  check(`${account.name}: a decoy is no code`, !account.recent().includes(decoy), decoy);
  await page.locator("input").fill(decoy);
  await page.locator("button").click();
  await site.settled(account);
  const signedIn = await page.waitForFunction(() => document.title === "Signed in", null, { timeout: 5000 }).catch(() => null);
  check(`${account.name}: signed in`, signedIn && account.accepted === 1 && account.refused.length === 0, account);
  if (account.sent) {
    // Equal pixels are an equal PNG.
    const png = await page.screenshot();
    const isCode = account.recent().includes(account.sent);
    check(`${account.name}: a screenshot shows the decoy`, png.equals(await picture(decoy)));
    check(`${account.name}: a screenshot shows no code`, isCode && !png.equals(await picture(account.sent)));
  }
  // Only the codes that the site got: a text with many digits can have those of other codes by chance.
  const codes = [...account.used].filter((step) => step !== undefined).map((step) => account.code(step));
  const session = await context.newCDPSession(page);
  const heap = [];
  session.on("HeapProfiler.addHeapSnapshotChunk", ({ chunk }) => heap.push(chunk));
  await session.send("HeapProfiler.takeHeapSnapshot");
  check(`${account.name}: the page shows none`, shows(await page.content(), codes).length === 0);
  const strings = JSON.parse(heap.join("")).strings.join("\n");
  check(`${account.name}: the heap holds none`, shows(strings, codes).length === 0);
  await context.close();
  const recorded = readFileSync(har, "utf8");
  check(`${account.name}: the HAR holds the decoy`, recorded.includes(decoy));
  check(`${account.name}: the HAR holds no code`, shows(recorded, codes).length === 0);
}

const other = await browser.newPage();
site.show("/other", "<!doctype html><title>Other</title>");
await other.goto(`http://127.0.0.1:${site.otherHttp}/other`);
check("a site that is nobody's is carried", (await other.title()) === "Other");

await browser.close();
await agent.client.close();
guard.kill("SIGINT");
const [status] = await once(guard, "exit");
check("the guard ends when it is told to", status === 0, status);
site.end();
rmSync(folder, { recursive: true });
finish();
