// Every state of the enrolment page, light and dark, on a phone and on a desk: nothing for axe to find, nothing beyond the
// screen's edge, all of it within reach of the keyboard, small and quick. With INTEROP_PICTURES, a folder, it leaves pictures
// there for people to look at.

import { mkdtempSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { check, finish, SEAT, SEED } from "./kit.mjs";
import { Agent, clock, look, ONE, openBrowser, PIN, press, Served, title, TWO } from "./page_kit.mjs";

const BYTES_MAX = 100 * 1024;
// Usable in one second; a machine that builds something else besides takes longer.
const MILLIS_MAX = 5000;
const pictures = process.env.INTEROP_PICTURES;

const agent = await Agent.start();
// Its camera shows a test film.
const browser = await openBrowser("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream");

async function type(page, key = SEED) {
  await page.getByLabel("Key or link").fill(key);
  return press(page, "Continue");
}

// A cold start: a new sidecar, a new browser. Counts all that the page fetches, and the reader that only some browsers
// need.
{
  const { enrollment_url: url } = await agent.ask({ label: "ada@example.com", issuer: "Acme" });
  const page = await browser.newPage();
  const bodies = [];
  page.on("response", (response) => bodies.push(response.body()));
  const begun = performance.now();
  await page.goto(url);
  await page.getByLabel("Key or link").fill("x");
  const millis = Math.round(performance.now() - begun);
  check(`usable in a second (took ${millis} ms)`, millis < MILLIS_MAX, millis);
  const reader = await (await fetch(new URL("qr.js", url))).arrayBuffer();
  const bytes = (await Promise.all(bodies)).reduce((sum, body) => sum + body.length, reader.byteLength);
  check(`all of it is under 100 KiB (${bytes} bytes, of which ${reader.byteLength} for the camera)`, bytes < BYTES_MAX, bytes);
  await page.close();
}

// The reader for the camera is third-party code, unchanged but for the lines that join its two files.
{
  const file = (name) => readFileSync(createRequire(import.meta.url).resolve(name), "utf8").split("\n");
  const published = new Set([...file("qr"), ...file("qr/decode.js")]);
  const ours = file("../../src/transport/http/enrol/qr.js").filter((line) => !published.has(line) && !/^ *(\/\/|\*)/.test(line));
  const joins = ["class Bitmap {", "constructor(size) {", "export function decodeQR(img) {"];
  joins.push("return decodeBitmap(detect(toBitmap(img)).bits);");
  check("the camera's reader is as published", ours.map((line) => line.trim()).join() === joins.join(), ours);
}

/** The names of what the Tab key reaches, from the top to the end. */
async function reached(page) {
  const names = [];
  await page.locator("body").evaluate(() => document.activeElement.blur());
  for (;;) {
    await page.keyboard.press("Tab");
    const name = await page.evaluate(() => {
      const { activeElement: at, body } = document;
      return at === body ? null : (at.labels?.[0] ?? at).textContent.trim();
    });
    if (!name || (names.length > 1 && name === names[0])) return names;
    names.push(name);
  }
}
{
  const { enrollment_url: url } = await agent.ask({ label: "ada@example.com", issuer: "Acme" });
  const page = await browser.newPage();
  await page.goto(url);
  const all = ["Picture of the QR code", "Read the picture", "Use the camera", "Key or link", "Service", "Account"];
  const names = await reached(page);
  check("keyboard: reaches all", [...all, "Continue", "Decline"].every((name) => names.includes(name)), names);
  const outline = await page.evaluate(() => {
    document.querySelector("#key").focus();
    return getComputedStyle(document.activeElement).outlineStyle;
  });
  check("keyboard: shows where it is", outline === "solid", outline);
  await page.keyboard.type(SEED);
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
  check("keyboard: Enter goes on", (await title(page)) === "Is this right?");
  const next = await reached(page);
  check("keyboard: reaches all of the review", ["Check", "Add", "Back", "Decline"].every((name) => next.includes(name)), next);
  await page.getByRole("button", { name: "Add", exact: true }).focus();
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
  check("keyboard: adds", (await title(page)) === "Added");
  await page.close();
}

// The states of a sidecar's page.
const context = await browser.newContext();
const page = await context.newPage();
const choose = (file) => page.getByLabel("Picture of the QR code").setInputFiles(file);
let asked = await agent.ask({ label: "ada@example.com", issuer: "Acme", origins: ["https://acme.example"] });
await page.goto(asked.enrollment_url);
await look(page, "entry", "Add a secret");
await page.getByRole("button", { name: "Use the camera" }).click();
const filmed = (video) => video.videoWidth || new Promise((resolve) => video.addEventListener("loadeddata", resolve));
await page.locator("video").evaluate(filmed);
await look(page, "camera", "Add a secret");
await page.getByRole("button", { name: "Stop the camera" }).click();
check("camera: can be stopped", await page.locator("video").isHidden());
await choose({ name: "no.png", mimeType: "image/png", buffer: Buffer.from("no picture") });
await press(page, "Read the picture");
await look(page, "entry with an error", "Add a secret");
await choose(TWO);
await press(page, "Read the picture");
await look(page, "choose", "Which one?");
await press(page, "Back");
await choose(ONE);
await press(page, "Read the picture");
await look(page, "review", "Is this right?");
await page.getByLabel("Check a code").fill("00000000");
await press(page, "Check");
await look(page, "review, a wrong code", "Is this right?");
await page.getByLabel("Check a code").fill(await page.locator("output").textContent());
await press(page, "Check");
await look(page, "review, a right code", "Is this right?");
await press(page, "Add");
await look(page, "added", "Added");
await page.goto(asked.enrollment_url);
await look(page, "already added", "Already added");
asked = await agent.ask();
await page.goto(asked.enrollment_url);
await choose(ONE);
await press(page, "Read the picture");
const warning = await page.getByRole("alert").textContent();
check("review: says that the key is there already", warning.startsWith("This key is there already, as Example"), warning);
await look(page, "review, there already", "Is this right?");
await page.getByLabel("Account").fill(" ");
await press(page, "Add");
await look(page, "review, no name", "Is this right?");
await page.evaluate(() => document.querySelectorAll("[name=ticket]").forEach((field) => (field.value = "x")));
await press(page, "Add");
await look(page, "stale", "Open the link again");
await page.goto(asked.enrollment_url);
await press(page, "Decline");
await look(page, "declined", "Declined");
await page.goto(asked.enrollment_url.replace(/.$/, "_"));
await look(page, "unknown", "No such link");
asked = await agent.ask({ issuer: "GitHub" });
await page.goto(asked.enrollment_url);
await type(page, `otpauth://totp/Evil:bob?secret=${SEED}&issuer=Evil`);
const other = await page.getByRole("alert").allTextContents();
check("review: says that the agent named another service", other.some((text) => text.includes("of GitHub, and this one is of Evil")), other);
await look(page, "review, another service", "Is this right?");
await page.getByLabel("Service", { exact: true }).fill("GitHub");
await page.getByLabel("Account").fill("renamed");
await press(page, "Refresh the code");
check("review: takes the new names", (await page.getByLabel("Account").inputValue()) === "renamed");
await press(page, "Decline");

// Ten minutes later.
{
  const { ahead, environment } = await clock(`${mkdtempSync(`${tmpdir()}/late-`)}/clock`);
  const late = await Agent.start(environment);
  const { enrollment_url: url } = await late.ask();
  await page.goto(url);
  ahead("+601");
  await page.goto(url);
  await look(page, "too late", "Too late");
  await late.client.close();
}

// Through a tunnel, no visitor is taken for the user of this machine.
asked = await agent.ask();
await context.setExtraHTTPHeaders({ via: "1.1 tunnel" });
await page.goto(asked.enrollment_url);
await look(page, "phrase", "Who are you?");
await page.getByLabel("Phrase").fill("acorn agate alder alley");
await press(page, "Continue");
await look(page, "phrase, wrong", "Who are you?");
await context.setExtraHTTPHeaders({});

// At 200 %, a desktop screen is half as wide.
asked = await agent.ask({ label: "ada@example.com", issuer: "Acme" });
const close = await browser.newPage({ viewport: { width: 640, height: 400 }, deviceScaleFactor: 2 });
await close.goto(asked.enrollment_url);
if (pictures) await close.screenshot({ path: `${pictures}/zoom entry.png`, fullPage: true });
await type(close);
if (pictures) await close.screenshot({ path: `${pictures}/zoom review.png`, fullPage: true });
check("zoom: nothing is cut off", (await close.evaluate("document.documentElement.scrollWidth - innerWidth")) <= 0);

// The states of a server's page, whose person proves who they are.
const served = await Served.start("--behind-proxy", "--user-header", "x-user");
asked = await served.ask({ label: "ada@example.com", seat_id: SEAT.seat_id });
await page.goto(asked.enrollment_url);
await look(page, "PIN", "Who are you?");
await page.getByLabel("PIN").fill("000000");
await press(page, "Continue");
await look(page, "PIN, wrong", "Who are you?");
await page.getByLabel("PIN").fill(PIN);
await press(page, "Continue");
const about = await page.locator("dl").innerText();
check("entry: says which key and whose seat", /page[\s\S]*ann@example\.com/.test(about), about);
await look(page, "entry on a server", "Add a secret");
// Five wrong PINs end a request, and hold up the next one of the same person.
{
  const { enrollment_url: url } = await served.ask({ seat_id: SEAT.seat_id });
  const { enrollment_url: next } = await served.ask({ seat_id: SEAT.seat_id });
  const wrong = async (link) => {
    await page.goto(link);
    if ((await title(page)) !== "Who are you?") return;
    await page.getByLabel("PIN").fill("000000");
    await press(page, "Continue");
  };
  for (let tries = 0; tries < 20 && (await title(page)) !== "Cancelled"; tries += 1) await wrong(url);
  await look(page, "cancelled", "Cancelled");
  // Each wrong PIN doubles the wait, so that in the end the next try comes too early, however slow this machine is.
  let held = "";
  for (let tries = 0; tries < 4 && !held.startsWith("Too many"); tries += 1) {
    await wrong(next);
    held = await page.getByRole("alert").textContent();
  }
  check("held: says for how long", held.startsWith("Too many were wrong lately. Try again in "), held);
  await look(page, "held", "Who are you?");
}
await context.setExtraHTTPHeaders({ "x-user": "eve@example.com" });
await page.goto(asked.enrollment_url);
await look(page, "for somebody else", "For somebody else");
check("the server ended as asked", (await served.end()) === 0);

await browser.close();
await agent.client.close();
finish();
