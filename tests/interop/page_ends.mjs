// The page of an enrolment, in a real browser: every way in which it can end, and what the agent and the vault then know.

import { readFileSync, writeFileSync } from "node:fs";
import { check, finish, isCode, now, SEAT, SEED, SERVER_ENV } from "./kit.mjs";
import { Agent, clock, drop, film, fixture, ONE, openBrowser, operate, paste, PIN, press, Served, title, TWO } from "./page_kit.mjs";

const HOME = SERVER_ENV.HOME;
const count = async () => (await operate("secret", "list")).totp_secrets.length;
const agent = await Agent.start();
const browser = await openBrowser();

/** Checks one enrolment and its end: the answer that the agent gets, and the number of new secrets. */
async function way(name, expected, run, { options = {}, by = browser, before: script } = {}) {
  const before = await count();
  const asked = await agent.ask({ label: "ada@example.com", issuer: "Acme" });
  const context = await by.newContext(options);
  if (script) await context.addInitScript(script);
  const page = await context.newPage();
  const errors = [];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  const told = [];
  page.on("response", async (response) => told.push(response.url(), await response.text().catch(() => "")));
  await page.goto(asked.enrollment_url);
  await run(page, asked);
  const outcome = await agent.outcome(asked);
  const { status, totp_secret: secret } = outcome;
  const added = (await count()) - before;
  await context.close();
  check(`${name}: the agent is told`, status === expected, status);
  check(`${name}: ${expected === "OK" ? "one secret" : "nothing"} is stored`, added === (expected === "OK" ? 1 : 0), added);
  told.push(JSON.stringify([asked, outcome]));
  check(`${name}: nobody is told the key`, told.length > 2 && !told.some((text) => text.includes(SEED)), told.length);
  // The browser's console reports a status that is no success as an error.
  const own = errors.filter((text) => !text.includes("the server responded with a status of 4"));
  check(`${name}: the browser has nothing to object to`, own.length === 0, own);
  return secret;
}

/** Checks that a page shows the secret of the fixture, and adds it. */
async function add(page, name) {
  const names = ["Service", "Account"].map((name) => page.getByLabel(name, { exact: true }).inputValue());
  const shown = [...(await Promise.all(names)), await page.locator("dl").innerText()].join("\n");
  check(`${name}: the page shows what was read`, /Example[\s\S]*alice@example.com[\s\S]*8 digits/.test(shown), shown);
  check(`${name}: added`, (await press(page, "Add")) === "Added");
}

/** Fills in a key. */
async function type(page, key = SEED) {
  await page.getByLabel("Key or link").fill(key);
  return press(page, "Continue");
}

/** Stands in for the reader that some browsers have. */
function standIn() {
  globalThis.BarcodeDetector = class {
    static getSupportedFormats = async () => ["qr_code"];
    detect = async ({ videoWidth }) =>
      videoWidth ? [{ rawValue: "otpauth://totp/Example:alice@example.com?secret=GEZDGNBVGY3TQOJQ&digits=8" }] : [];
  };
}

// 1 to 3: the picture comes by the clipboard, the mouse, or a camera.
await way("paste", "OK", async (page) => {
  await paste(page, readFileSync(ONE));
  await add(page, "paste");
});
await way("drop", "OK", async (page) => {
  await drop(page, fixture("qr-screenshot-3840x2160.png"));
  check("drop: a whole screen is read", (await title(page)) === "Is this right?");
  await press(page, "Add");
});
{
  const seen = `${HOME}/camera.y4m`;
  writeFileSync(seen, await film(browser, readFileSync(ONE)));
  const device = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"];
  const seeing = await openBrowser(...device, `--use-file-for-fake-video-capture=${seen}`);
  const sent = [];
  await way(
    "camera",
    "OK",
    async (page) => {
      page.on("request", (request) => sent.push([request.url(), request.postData() ?? ""]));
      await press(page, "Use the camera");
      await add(page, "camera");
    },
    { by: seeing },
  );
  const pictures = sent.filter(([, body]) => body.includes("PNG") || body.includes("JFIF") || body.includes("image/"));
  check("camera: no frame leaves the browser", pictures.length === 0, pictures);
  check("camera: the page's own reader read it", sent.some(([url]) => url.endsWith("/qr.js")));
  // Chromium on Linux has no reader of its own, so `standIn` replaces it.
  sent.length = 0;
  await way(
    "camera, the browser's reader",
    "OK",
    async (page) => {
      page.on("request", (request) => sent.push(request.url()));
      await press(page, "Use the camera");
      await add(page, "camera, the browser's reader");
    },
    { by: seeing, before: standIn },
  );
  check("camera, the browser's reader: no other is fetched", !sent.some((url) => url.endsWith("/qr.js")), sent);
  await seeing.close();
}
await way("no camera", "OK", async (page) => {
  await page.getByRole("button", { name: "Use the camera" }).click();
  await page.getByText(/No camera can be used here|not allowed to use the camera/).waitFor();
  await drop(page, ONE);
  await press(page, "Add");
});

// 4: an error, after which the person tries again.
await way("error", "OK", async (page) => {
  const choose = (name) => page.getByLabel("Picture of the QR code").setInputFiles(name);
  const said = () => page.getByRole("alert").textContent();
  await choose({ name: "text.png", mimeType: "image/png", buffer: Buffer.from("no picture") });
  await press(page, "Read the picture");
  check("error: no picture", (await said()).startsWith("The file is no PNG, JPEG or WebP picture"), await said());
  await choose({ name: "page.png", mimeType: "image/png", buffer: await page.locator("h1").screenshot() });
  await press(page, "Read the picture");
  check("error: no code", (await said()).startsWith("No QR code was found"), await said());
  await choose(fixture("qr-google-migration.png"));
  await press(page, "Read the picture");
  check("error: an export", (await said()).includes("export of Google Authenticator"), await said());
  await choose({ name: "large.png", mimeType: "image/png", buffer: Buffer.alloc(10 * 1024 * 1024 + 1) });
  const size = await page.getByRole("status").textContent();
  check("error: too large is told before it is sent", size.includes("larger than 10 MiB"), size);
  check("error: a wrong key", (await type(page, "not a key!")) === "Add a secret" && (await said()).startsWith("The key"));
  check("error: then it works", (await type(page)) === "Is this right?");
  await press(page, "Add");
});

// 5: expiry. The clock of a sidecar of its own is moved.
{
  const { ahead, environment } = await clock(`${HOME}/clock`);
  const late = await Agent.start(environment);
  const before = await count();
  const asked = await late.ask();
  const page = await browser.newPage();
  await page.goto(asked.enrollment_url);
  await page.getByLabel("Account").fill("ada");
  await type(page);
  ahead("+601");
  check("expiry: the page says so", (await press(page, "Add")) === "Too late");
  const told = await late.outcome(asked);
  check("expiry: the agent is told", told.status === "EXPIRED", told);
  check("expiry: nothing is stored", (await count()) === before);
  await page.close();
  await late.client.close();
}

// 6 to 9: what a person can do with a browser.
await way("double submit", "OK", async (page) => {
  await type(page);
  await Promise.all([page.waitForNavigation(), page.getByRole("button", { name: "Add", exact: true }).dblclick()]);
  check("double submit: it says so", ["Added", "Already added"].includes(await title(page)), await title(page));
});
await way("other tab", "OK", async (page, { enrollment_url }) => {
  const other = await page.context().newPage();
  await other.goto(enrollment_url);
  await type(page);
  await type(other);
  check("other tab: the older one has to be filled in again", (await press(page, "Add")) === "Add a secret");
  await press(other, "Add");
  check("other tab: the other one says so", (await type(page)) === "Already added");
});
await way("back button", "OK", async (page) => {
  await type(page);
  await page.goBack();
  check("back button: another key can be typed", (await type(page, "JBSWY3DPEHPK3PXP")) === "Is this right?");
  await press(page, "Add");
  // The page before may be the browser's question whether to send the form again.
  await page.goBack().catch(() => null);
  const add = page.getByRole("button", { name: "Add", exact: true });
  if (await add.isVisible()) check("back button: it says so", (await press(page, "Add")) === "Already added");
});
await way("reload", "OK", async (page) => {
  await page.getByLabel("Picture of the QR code").setInputFiles(ONE);
  await press(page, "Read the picture");
  await page.reload();
  await add(page, "reload");
  await page.reload();
  check("reload: it says so", (await title(page)) === "Already added", await title(page));
});

// 10: the person does not want it.
await way("cancel", "DECLINED", async (page) => {
  await type(page);
  check("cancel: the page says so", (await press(page, "Decline")) === "Declined");
});

// 12: no script. One of several codes is chosen, and it is the one that gives codes.
{
  const options = { javaScriptEnabled: false };
  const choosing = async (page) => {
    await page.getByLabel("Picture of the QR code").setInputFiles(TWO);
    check("no script: the person chooses", (await press(page, "Read the picture")) === "Which one?");
    check("no script: by name", (await press(page, "Example (bob@example.com)")) === "Is this right?");
    await press(page, "Add");
  };
  const secret = await way("no script", "OK", choosing, { options });
  check("no script: the agent learns which", secret?.label === "bob@example.com" && !("secret" in secret), secret);
  const typing = async (page) => {
    await type(page);
    check("no script: a code is checked", (await codeChecked(page)) === "That code is right.");
    await press(page, "Add");
  };
  const typed = await way("no script, a key", "OK", typing, { options });
  const since = now();
  const given = await agent.client.callTool({ name: "get_totp_code", arguments: { secret_id: typed.id } });
  check("no script, a key: the agent gets codes", isCode(given.structuredContent?.code, SEED, since), given);
}

/** Has the page check its own code; returns the page's verdict. */
async function codeChecked(page) {
  const code = await page.locator("output").textContent();
  await page.getByLabel("Check a code").fill(code);
  await press(page, "Check");
  return page.getByRole("status").first().textContent();
}

// 11: a second person. On a server people prove who they are.
{
  const server = await Served.start();
  const before = await count();
  const asked = await server.ask({ label: "ada@example.com", seat_id: SEAT.seat_id });
  const prove = async (page, typed) => {
    await page.getByLabel("PIN").fill(typed);
    return press(page, "Continue");
  };
  const second = await browser.newPage();
  await second.goto(asked.enrollment_url);
  const shown = await second.content();
  check("second person: the link tells nothing", !shown.includes(asked.words) && !shown.includes("ada@example.com"), shown);
  check("second person: a wrong PIN", (await prove(second, "000000")) === "Who are you?");
  const first = await browser.newPage();
  await first.goto(asked.enrollment_url);
  check("second person: the first one gets in", (await prove(first, PIN)) === "Add a secret");
  await drop(first, ONE);
  check("second person: the first one adds", (await press(first, "Add")) === "Added");
  check("second person: the link is used up", (await prove(second, PIN)) === "Already added");
  check("second person: the agent is told", (await server.outcome(asked)).status === "OK");
  check("second person: one secret is stored", (await count()) === before + 1);
  const guessed = await server.ask({ seat_id: SEAT.seat_id });
  await second.goto(guessed.enrollment_url);
  let last = "";
  for (let tries = 0; tries < 5; tries += 1) last = await prove(second, "000000");
  const { status } = await server.outcome(guessed);
  check("second person: five wrong PINs end it", last === "Cancelled" && status === "CANCELLED", { last, status });
  check("the server ended as asked", (await server.end()) === 0);
}

await browser.close();
await agent.client.close();
finish();
