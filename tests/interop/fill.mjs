// Codes are filled into login pages in a real browser: sixty pages must be signed in to, and three hundred that are hostile must
// not get a digit. INTEROP_MODE picks the way: `direct`, for page.js alone, or the program. FILL=full takes all sixty.

import { env } from "node:process";
import { check, finish, MODE } from "./kit.mjs";
import { Direct, Product } from "./fill_drivers.mjs";
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

const pages = showPages(site).filter(({ name }, at) => (env.FILL_ONLY ? name.includes(env.FILL_ONLY) : env.FILL === "full" || at % 3 === 0));
for (const each of pages) await signIn(each);
await driver.end();
await browser.close();
site.end();
finish();
