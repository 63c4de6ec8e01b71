// Codes are filled into login pages in a real browser: sixty pages must be signed in to, and three hundred hostile ones
// must not get a digit. INTEROP_MODE names the pages (`pages`, `hostile`). With `direct`, the script that runs in pages
// fills alone, and its other methods are tried as well; without, the program fills. FILL=full takes all sixty pages,
// else every third one.

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
const [isDirect, isPages, isHostile] = ["direct", "pages", "hostile"].map((word) => MODE.split(" ").includes(word));
const driver = await (isDirect ? Direct : Product).start(port);
site.setMaxListeners(0);

/** Whether a text shows four or more digits of a code in a row. */
const shows = (text, codes) =>
  codes.some((code) =>
    Array.from({ length: code.length - 3 }, (_, at) => code.slice(at, at + 4)).some((part) => text.includes(part)),
  );

async function signIn({ name, account, url, origin, allowed }) {
  const secret = await driver.enrol(account, [allowed]);
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  await page.goto(url, { waitUntil: "commit" });
  const answer = await driver.fill(secret);
  await site.settled(account);
  // Whatever else the page has sent arrives before this request.
  const ping = (frame) => frame.evaluate(() => fetch("/ping").then((answer) => answer.text())).catch(() => null);
  await Promise.all(page.frames().map(ping));
  const got = [answer, { accepted: account.accepted, refused: account.refused }];
  check(`${name}: signed in`, account.accepted === 1 && account.refused.length === 0, got);
  check(`${name}: says so`, answer.status === "SUBMITTED" && answer.origin === origin, got);
  check(`${name}: the code's time`, answer.expires_in >= 0 && answer.expires_in <= 60, answer.expires_in);
  // A port can have digits of a code by chance.
  check(`${name}: no digit of it is shown`, !shows(answer.text.replaceAll(origin, ""), account.recent()), answer.text);
  await context.close();
}

/** A page that does nothing on Enter, and whose button is not known as one, keeps the code, and the answer says so. */
async function stay() {
  const [account, origin] = [site.account("stay"), `http://localhost:${site.http}`];
  site.show("/stay", `<!doctype html><title>Acme</title><input autocomplete="one-time-code"><button>Delete account</button>`);
  const secret = await driver.enrol(account, [origin]);
  const page = await browser.newPage();
  await page.goto(`${origin}/stay`);
  const { status, text } = await driver.fill(secret);
  check("a code that can't be submitted: says so", status === "FILLED", text);
  check("a code that can't be submitted: it stays", account.recent().includes(await page.inputValue("input")), text);
  await page.close();
}

/** Batches of cases that can be open at once; a case that changes meanwhile (`alone`) is a batch of its own. */
function batched(cases) {
  const batches = [];
  for (const each of cases) {
    const last = batches.at(-1);
    if (!each.alone && last && !last[0].alone && last[0].group === each.group && last.length < 12) last.push(each);
    else batches.push([each]);
  }
  return batches;
}

const soon = (promise, otherwise) =>
  Promise.race([promise, new Promise((resolve) => setTimeout(resolve, 1000, otherwise))]).catch(() => otherwise);

/** Has each recorder see a digit, to prove that it would have seen others; returns what one had seen before. */
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

/** Opens a tab that no test tool drives; returns when the last one has detached from it. */
async function openFreely(url) {
  const made = await fetch(`http://127.0.0.1:${port}/json/new?${encodeURIComponent(url)}`, { method: "PUT" });
  const { id } = await made.json();
  freeTabs.push(id);
  const session = await browser.newBrowserCDPSession();
  const isHeld = async () =>
    (await session.send("Target.getTargets")).targetInfos.find(({ targetId }) => targetId === id).attached;
  for (const until = Date.now() + 5000; (await isHeld()) && Date.now() < until;);
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
  // A page that was right when it had its code has used the step of that code: the next may have to wait for another.
  const wait = batch[0].touched ? 40 : 2;
  let changes = [];
  const change = async () => (changes = await Promise.all(opened.map(({ meanwhile }) => meanwhile?.())));
  const answers = await driver.force(secret, change, wait);
  const typed = answers.filter((answer) => /^(filled|submitted|pending)$/i.test(answer));
  // In a race with the program, the right page may have had its code before it changed.
  const isOwed = isDirect || !batch[0].alone;
  check(
    `hostile: ${batch[0].name}${batch.length > 1 ? `, and ${batch.length - 1} more` : ""}: refused`,
    !isOwed || typed.length === 0,
    answers,
  );
  const before = batch.map(({ id }) => site.seen.get(id) ?? []);
  await closeFreeTabs();
  for (const [at, { prerendered }] of batch.entries()) if (prerendered) await opened[at].page.goto(prerendered);
  const held = (await Promise.all(context.pages().map(proof))).flat();
  for (const [at, { name, id }] of batch.entries()) {
    await site.told(id);
    const seen = [...before[at], ...(site.seen.get(id) ?? []).filter((digits) => /[^9]/.test(digits))];
    // A page that already holds the code when it changes was the right one: it sees what it was given, and nothing more.
    const mayHold = changes[at] === "filled before" && typed.length === 1;
    check(`hostile: ${name}`, (mayHold || (seen.length === 0 && held.length === 0)) && site.seen.has(id), {
      seen,
      held,
      isLive: site.seen.has(id),
      answers,
    });
  }
  await context.close();
}

/** Calls the script's methods as the program does, one after another on a page, whose fields are then read. */
async function ask(html) {
  const path = `/asked${(asked += 1)}`;
  site.show(path, `<!doctype html><title>Acme</title>${html}`);
  const page = await browser.newPage();
  await page.goto(`http://localhost:${site.http}${path}`);
  const [frame] = await driver.framesOf(page.url());
  const values = () => page.evaluate(() => [...document.querySelectorAll("input")].map((input) => input.value).join(""));
  const told = (name, ...given) => frame.call(name, ...given);
  return {
    page,
    values,
    told,
    fill: (submit, selector) => told("fill", `http://localhost:${site.http}`, "271828", submit, selector),
  };
}

let asked = 0;
const FORM = `<form onsubmit="return false"><label>Verification code <input name="otp"></label><button>Verify</button></form>`;
const TWO = `<input class="one" autocomplete="one-time-code"><input class="two" autocomplete="one-time-code">`;

/** What a page without a form makes of a code: at first, and once it is clear whether Enter did anything. */
async function askWithoutForm(buttons, onKey) {
  const { page, told, fill, values } = await ask(`<div><input autocomplete="one-time-code">${buttons}</div><script>
    globalThis.pressed = 0; addEventListener("click", () => (pressed += 1)); addEventListener("keydown", (event) => { ${onKey}; });</script>`);
  const first = (await fill(true)).outcome;
  let last = first;
  for (const until = Date.now() + 1500; last === "pending" && Date.now() < until;) last = (await told("submit")).outcome;
  const got = { first, last, pressed: await page.evaluate("pressed"), values: await values() };
  await page.close();
  return got;
}

async function askTheScript() {
  const one = await ask(FORM);
  const before = await one.page.evaluate("[document.documentElement.outerHTML, Object.keys(globalThis).join()]");
  const look = await one.told("look");
  check(
    "script: a look",
    look.origin === `http://localhost:${site.http}` && look.title === "Acme" && look.fields === 1 && look.settled,
    look,
  );
  check("script: no selector", (await one.told("look", "p >")).selector === "invalid");
  check("script: another origin", (await one.told("fill", "http://localhost", "271828", true)).outcome === "wrong_origin");
  check(
    "script: filled",
    (await one.fill(false)).outcome === "filled" && (await one.values()) === "271828",
    await one.values(),
  );
  check("script: the digits are there", !(await one.told("rest")).gone);
  await one.told("wipe");
  check("script: wiped", (await one.told("rest")).gone && (await one.values()) === "", await one.values());
  const after = await one.page.evaluate("[document.documentElement.outerHTML, Object.keys(globalThis).join()]");
  check("script: it leaves nothing", before.join() === after.join(), after);
  const two = await ask(TWO);
  check(
    "script: two are no guess",
    (await two.fill(true)).outcome === "several_fields" && (await two.values()) === "",
    await two.values(),
  );
  check(
    "script: one by its selector",
    (await two.fill(false, ".two")).outcome === "filled" && (await two.values()) === "271828",
  );
  check("script: none by its selector", (await two.fill(false, ".three")).outcome === "no_field");
  const deaf = await ask(
    `${FORM}<script>addEventListener("input", ({ target }) => (target.value = target.value.replace(/[2-9]/g, "")));</script>`,
  );
  check("script: a field that takes some digits only", (await deaf.fill(true)).outcome === "unclear", "typed");
  check("script: nothing is left there", (await deaf.values()) === "", await deaf.values());
  const moved = await ask(`${FORM}<iframe></iframe><script>addEventListener("input", ({ target }) =>
    frames[0].document.body.append(target), { once: true });</script>`);
  check("script: a field that goes at the first digit", (await moved.fill(true)).outcome === "untyped", "typed");
  const drawn = await ask(`${FORM.replace(/<button.*button>/, "")}<svg role="button" aria-label="Verify" width="40" height="40"></svg>
    <script>globalThis.pressed = 0; document.querySelector("svg").onclick = () => (pressed += 1);</script>`);
  check("script: a button that is drawn", (await drawn.fill(true)).outcome === "submitted");
  check("script: it is pressed", (await drawn.page.evaluate("pressed")) === 1);
  const late = await ask(FORM.replace("<button>", "<button disabled>"));
  check("script: a button that is not enabled", (await late.fill(true)).outcome === "pending");
  await late.page.evaluate(() => (document.querySelector("button").disabled = false));
  check("script: once it is", (await late.told("submit")).outcome === "submitted");
  const taken = await ask(
    `${FORM}<script>addEventListener("input", ({ target }) => (target.disabled = target.value.length === 6));
    globalThis.pressed = 0; addEventListener("click", () => (pressed += 1));</script>`,
  );
  check("script: a page that takes the code itself", (await taken.fill(true)).outcome === "submitted");
  check("script: nothing is pressed there", (await taken.page.evaluate("pressed")) === 0);
  const hidden = await ask(
    FORM.replace("<form", `<img name="title"><img name="querySelectorAll"><form name="readyState"`).replace(
      "<button",
      `<input type="hidden" name="parentNode"><button`,
    ),
  );
  check("script: names that hide properties", (await hidden.fill(true)).outcome === "submitted", await hidden.told("look"));
  const sent = await askWithoutForm(`<button>→</button>`, `event.key === "Enter" && fetch("/ping")`);
  check("script: Enter that sends a request", sent.last === "submitted" && sent.pressed === 0, sent);
  const told = await askWithoutForm(`<button>→</button>`, `event.key === "Enter" && (document.title = "Wait")`);
  check("script: Enter that changes the page", told.first === "submitted" && told.pressed === 0, told);
  const onRelease = `addEventListener("keyup", (up) => up.key === "Enter" && (document.title = "Wait"), { once: true })`;
  const released = await askWithoutForm(`<button>→</button>`, onRelease);
  check("script: Enter that changes the page when it is released", released.first === "submitted", released);
  const own = await askWithoutForm(`<button>→</button>`, `event.key === "Enter" && event.preventDefault()`);
  check("script: Enter that is handled", own.first === "submitted" && own.pressed === 0, own);
  const noted = await askWithoutForm(`<button>→</button>`, `document.body.dataset.last = event.key`);
  check("script: a page that notes every key", noted.last === "pending" && noted.values === "271828", noted);
  for (const buttons of ["<button>→</button>", "<button>Delete account</button>", "<div>Continue</div>", "<button disabled>Los</button>"]) {
    const none = await askWithoutForm(buttons, "");
    check(`script: no button is meant: ${buttons}`, none.last === "pending" && none.pressed === 0 && none.values === "271828", none);
  }
  await Promise.all([one, two, deaf, moved, drawn, late, taken, hidden].map(({ page }) => page.close()));
  await driver.leave();
}

const picked = env.FILL_ONLY ?? "";
const isPicked = (name, at) => (picked ? name.includes(picked) : env.FILL === "full" || at % 3 === 0);
if (isDirect && isPages) await askTheScript();
if (isPages) for (const each of showPages(site).filter(({ name }, at) => isPicked(name, at))) await signIn(each);
if (isPages && !isDirect) await stay();
if (isHostile) {
  const secret = await driver.enrol(site.account("hostile"), site.allowed);
  const cases = hostileCases(site).filter(({ name, group }) => `${group} ${name}`.includes(picked));
  for (const batch of batched(cases)) await withstand(batch, secret);
}
await driver.end();
await browser.close();
site.end();
finish();
