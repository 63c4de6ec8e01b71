// Codes are filled into login pages in a real browser: sixty pages must be signed in to, and three hundred that are hostile must
// not get a digit. INTEROP_MODE picks the way: `direct`, for page.js alone, or the program. FILL=full takes all sixty.

import { env } from "node:process";
import { check, finish, MODE } from "./kit.mjs";
import { Direct, Product } from "./fill_drivers.mjs";
import { hostileCases } from "./fill_hostile.mjs";
import { showPages } from "./fill_pages.mjs";
import { Site } from "./fill_site.mjs";
import { openBrowser } from "./page_kit.mjs";
import { createServer } from "node:net";
import { once } from "node:events";

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

const site = await Site.start();
const port = await freePort();
const browser = await openBrowser(
  `--remote-debugging-port=${port}`,
  "--host-resolver-rules=MAP * 127.0.0.1, EXCLUDE localhost",
  "--ignore-certificate-errors",
  "--site-per-process",
);
const driver = await (MODE === "direct" ? Direct : Product).start(port);

/** Whether a text shows four or more digits of a code in a row. */
const shows = (text, codes) =>
  codes.some((code) => Array.from({ length: code.length - 3 }, (_, at) => code.slice(at, at + 4)).some((part) => text.includes(part)));

async function signIn({ name, account, url, origin }) {
  const secret = await driver.enrol(account, [origin]);
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  await page.goto(url, { waitUntil: "commit" });
  const answer = await driver.fill(secret);
  await site.settled(account);
  const got = [answer, { accepted: account.accepted, refused: account.refused }];
  check(`${name}: signed in`, account.accepted === 1 && account.refused.length === 0, got);
  check(`${name}: says so`, answer.status === "SUBMITTED" && answer.origin === origin, got);
  check(`${name}: the code's time`, answer.expires_in >= 0 && answer.expires_in <= 60, answer.expires_in);
  check(`${name}: no digit of it is shown`, !shows(answer.text, account.recent()), answer.text);
  await context.close();
}

/** As many as can be open at once, one after another for those that change meanwhile. */
function batched(cases) {
  const batches = [];
  for (const each of cases) {
    const last = batches.at(-1);
    if (!each.alone && last && !last[0].alone && last[0].group === each.group && last.length < 12) last.push(each);
    else batches.push([each]);
  }
  return batches;
}

const soon = (promise, otherwise) => Promise.race([promise, new Promise((resolve) => setTimeout(resolve, 1000, otherwise))]).catch(() => otherwise);

/** Has each recorder see a digit, to prove that it would have seen others; what each had seen before. */
async function proof(page) {
  for (const frame of page.frames()) {
    const told = soon(frame.evaluate("globalThis.recorder && [recorder, [...seen], prove()]"), null);
    // A page whose scripts break promises does not answer.
    if ((await told) === null) await soon(frame.locator("input").first().fill("9"));
    else if ((await told)?.[1].length > 0) return (await told)[1];
  }
  return [];
}

const freeTabs = [];

/** A tab that no test tool drives: it answers when the last one has let go of it. */
async function openFreely(url) {
  const made = await fetch(`http://127.0.0.1:${port}/json/new?${encodeURIComponent(url)}`, { method: "PUT" });
  const { id } = await made.json();
  freeTabs.push(id);
  const session = await browser.newBrowserCDPSession();
  const isHeld = async () => (await session.send("Target.getTargets")).targetInfos.find(({ targetId }) => targetId === id).attached;
  for (const until = Date.now() + 5000; (await isHeld()) && Date.now() < until; );
  await session.detach();
}

const closeFreeTabs = () => Promise.all(freeTabs.splice(0).map((id) => fetch(`http://127.0.0.1:${port}/json/close/${id}`)));

async function withstand(batch, secret) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const opened = await Promise.all(
    batch.map(async (each) => {
      const page = await context.newPage();
      return { page, meanwhile: await each.open(page, openFreely) };
    }),
  );
  const answers = await driver.force(secret, () => Promise.all(opened.map(({ meanwhile }) => meanwhile?.())));
  const typed = answers.filter((answer) => /^(filled|submitted|pending)$/i.test(answer));
  // In a race with the program, the right page may have had its code before it changed.
  const isOwed = MODE === "direct" || !batch[0].alone;
  check(`hostile: ${batch[0].name}${batch.length > 1 ? `, and ${batch.length - 1} more` : ""}: refused`, !isOwed || typed.length === 0, answers);
  const before = batch.map(({ id }) => site.seen.get(id) ?? []);
  await closeFreeTabs();
  for (const [at, { prerendered }] of batch.entries()) if (prerendered) await opened[at].page.goto(prerendered);
  const held = (await Promise.all(context.pages().map(proof))).flat();
  for (const [at, { name, id }] of batch.entries()) {
    await site.told(id);
    const seen = [...before[at], ...(site.seen.get(id) ?? []).filter((digits) => /[^9]/.test(digits))];
    check(`hostile: ${name}`, seen.length === 0 && held.length === 0 && site.seen.has(id), { seen, held, isLive: site.seen.has(id) });
  }
  await context.close();
}

const picked = env.FILL_ONLY ?? "";
const pages = showPages(site).filter(({ name }, at) => (picked ? name.includes(picked) : env.FILL === "full" || at % 3 === 0));
for (const each of pages) await signIn(each);
const secret = await driver.enrol(site.account("hostile"), site.allowed);
const cases = hostileCases(site).filter(({ name, group }) => `${group} ${name}`.includes(picked));
for (const batch of batched(cases)) await withstand(batch, secret);
await driver.end();
await browser.close();
site.end();
finish();
