// The parts that the judges of the enrolment page share: a person with a browser, which is Debian's Chromium without a
// window, an agent,
// and a server.

import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import axe from "axe-core";
import { chromium } from "playwright-core";
import { check, COMMAND, SEAT, SERVER_ENV } from "./kit.mjs";

export const fixture = (name) => new URL(`../fixtures/${name}`, import.meta.url).pathname;
export const ONE = fixture("qr-one.png");
export const TWO = fixture("qr-two.png");
/** The PIN of the runner's seat, on a server that was started here. */
export const PIN = "492039";
const env = { ...process.env, ...SERVER_ENV };

// Switches off what the browser would do on its own, such as requests for updates.
const QUIET = [
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-gpu",
  "--disable-quic",
  "--disable-sync",
  "--no-first-run",
];

/** A browser with an empty profile. */
export function openBrowser(...flags) {
  return chromium.launch({ executablePath: "/usr/bin/chromium", args: [...QUIET, ...flags] });
}

/** Runs the program as the operator; returns its JSON output. */
export async function operate(...words) {
  return JSON.parse((await promisify(execFile)(COMMAND[0], [...words, "--json"], { env })).stdout);
}

/** An agent that can't show links itself, so it hands them to its person. */
export class Agent {
  static async start(more = {}) {
    const [agent, [command, ...args]] = [new Agent(), COMMAND];
    agent.client = new Client({ name: "robot", version: "7" });
    await agent.client.connect(new StdioClientTransport({ command, args, env: { ...SERVER_ENV, ...more } }));
    return agent;
  }

  async ask(more = {}) {
    const result = await this.client.callTool({ name: "enroll_totp_secret", arguments: more });
    if (result.isError) throw new Error(result.content[0].text);
    return result.structuredContent;
  }

  outcome = ({ enrollment_id }) => this.ask({ enrollment_id });
}

/** A server, and an agent that calls it for the person of the runner's seat, who has a PIN. */
export class Served {
  static async start(...flags) {
    const set = ["seat", "update", SEAT.seat_id, "--pin-stdin"];
    const pin = spawn(COMMAND[0], set, { env, stdio: ["pipe", "ignore", "inherit"] });
    pin.stdin.end(PIN);
    await once(pin, "exit");
    const made = new Served();
    made.key = await operate("key", "create", "--name", "page", "--scope", "secrets:write");
    const stdio = ["ignore", "ignore", "pipe"];
    made.server = spawn(COMMAND[0], ["serve", "--listen", "127.0.0.1:0", ...flags], { env, stdio });
    // The server must not outlive the checks, however they end.
    process.on("exit", () => made.server.kill());
    for await (const line of createInterface({ input: made.server.stderr })) {
      made.base = line.match(/listening on (\S+)/)?.[1];
      if (made.base) break;
    }
    return made;
  }

  async ask(body) {
    const headers = { authorization: `Bearer ${this.key.token}`, "content-type": "application/json" };
    const sent = { method: "POST", headers, body: JSON.stringify(body) };
    return (await fetch(`${this.base}/api/v2/totp/enrollments`, sent)).json();
  }

  outcome = ({ enrollment_id }) => this.ask({ enrollment_id });

  /** Ends the server; returns its exit status. */
  async end() {
    this.server.kill("SIGTERM");
    if (this.server.exitCode === null) await once(this.server, "exit");
    return this.server.exitCode;
  }
}

/** A clock that `ahead("+601")` sets for the processes with this environment, and for no others. */
export async function clock(file) {
  const { stdout: library } = await promisify(execFile)("faketime", ["-m", "now", "printenv", "LD_PRELOAD"]);
  const ahead = (by) => writeFileSync(file, by);
  ahead("+0");
  const how = { FAKETIME_NO_CACHE: "1", FAKETIME_DONT_FAKE_MONOTONIC: "1" };
  return { ahead, environment: { LD_PRELOAD: library.trim(), FAKETIME_TIMESTAMP_FILE: file, ...how } };
}

const SIZES = { phone: { width: 390, height: 844 }, desk: { width: 1280, height: 800 }, small: { width: 320, height: 600 } };
const pictures = process.env.INTEROP_PICTURES;
let seen = 0;

const violations = async (page) => {
  const { violations } = await page.evaluate(`${axe.source}; axe.run()`);
  return violations.map(({ id, nodes }) => [id, ...nodes.map((node) => node.html)]);
};

/** Checks a page, light and dark, on a phone and on a desk: axe finds nothing, and nothing is wider than the screen. */
export async function look(page, name, heading) {
  seen += 1;
  check(`${name}: is there`, (await title(page)) === heading, await title(page));
  const wrong = [];
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    wrong.push(...(await violations(page)));
    for (const [size, viewport] of Object.entries(SIZES)) {
      await page.setViewportSize(viewport);
      const over = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
      if (over > 0) wrong.push(`${over} pixels wider than a ${size}`);
      const path = `${pictures}/${String(seen).padStart(2, "0")} ${name} ${colorScheme} ${size}.png`;
      if (pictures && size !== "small") await page.screenshot({ path, fullPage: true });
    }
  }
  await page.setViewportSize(SIZES.desk);
  check(`${name}: nothing is wrong with it`, wrong.length === 0, wrong);
}

export const title = (page) => page.locator("h1").textContent();

/** Presses a button and waits for the next page. */
export async function press(page, name) {
  await Promise.all([page.waitForNavigation(), page.getByRole("button", { name, exact: true }).click()]);
  return title(page);
}

/** Drops a file onto the page, as from the desktop. */
export async function drop(page, file) {
  const box = await page.locator("h1").boundingBox();
  const devtools = await page.context().newCDPSession(page);
  const data = { items: [], files: [file], dragOperationsMask: 1 };
  const at = { x: box.x + 5, y: box.y + 5, data };
  for (const type of ["dragEnter", "dragOver"]) await devtools.send("Input.dispatchDragEvent", { type, ...at });
  // The page may be gone before the browser confirms the drop, so that is not awaited.
  const drop = () => void devtools.send("Input.dispatchDragEvent", { type: "drop", ...at }).catch(() => null);
  await Promise.all([page.waitForNavigation(), drop()]);
}

/** Pastes a picture from the clipboard. */
export async function paste(page, picture) {
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.evaluate(async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const item = new ClipboardItem({ "image/png": new Blob([bytes], { type: "image/png" }) });
    await navigator.clipboard.write([item]);
  }, picture.toString("base64"));
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Control+V")]);
}

/** A film for the browser's fake camera: a picture, held askew before it under a poor light. */
export async function film(browser, picture) {
  const [width, height] = [640, 480];
  const page = await browser.newPage();
  const grey = await page.evaluate(
    async ({ source, width, height }) => {
      const image = new Image();
      image.src = source;
      await image.decode();
      const canvas = Object.assign(document.createElement("canvas"), { width, height });
      const brush = canvas.getContext("2d");
      brush.fillStyle = "#778";
      brush.fillRect(0, 0, width, height);
      brush.transform(0.97, 0.2, -0.17, 0.95, width / 2, height / 2);
      brush.filter = "blur(0.5px) brightness(70%)";
      brush.drawImage(image, -170, -170, 340, 340);
      const { data } = brush.getImageData(0, 0, width, height);
      return Array.from({ length: width * height }, (_, pixel) => data[pixel * 4]);
    },
    { source: `data:image/png;base64,${picture.toString("base64")}`, width, height },
  );
  await page.close();
  const head = Buffer.from(`YUV4MPEG2 W${width} H${height} F10:1 Ip A1:1 C420jpeg\nFRAME\n`);
  return Buffer.concat([head, Buffer.from(grey), Buffer.alloc((width * height) / 2, 128)]);
}
