// The two ways to fill a code that the same cases are tried with: the program, and `src/browser/page.js` alone, called over CDP as
// the program calls it. Each answers `{ status, origin, text }` or `{ code, text }`; `text` is all that an agent would be shown.

import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import WebSocket from "ws";
import { COMMAND, now, SERVER_ENV } from "./kit.mjs";

const [page, find, words] = ["page", "find", "words"].map((name) =>
  readFileSync(new URL(`../../src/browser/${name}.js`, import.meta.url), "utf8"),
);
const PAGE = `(${page})((${find})(${words}))`;
const CALL = "function (name, ...given) { return this[name](...given); }";

/** A connection to the browser, or by `sessionId` to one of its targets. */
class Devtools {
  #waiting = new Map();
  #last = 0;
  /** The targets that were attached to, newest last. */
  attached = [];

  static async open(url) {
    const made = new Devtools();
    made.socket = new WebSocket(url, { perMessageDeflate: false });
    await once(made.socket, "open");
    made.socket.on("message", (bytes) => made.#receive(JSON.parse(bytes)));
    return made;
  }

  #receive({ id, result, error, method, params }) {
    if (method === "Target.attachedToTarget") this.attached.push(params);
    const gone = method === "Target.detachedFromTarget" ? params.sessionId : null;
    for (const [key, { resolve, reject, sessionId }] of this.#waiting) {
      if (key !== id && (gone === null || sessionId !== gone)) continue;
      this.#waiting.delete(key);
      if (key === id && !error) resolve(result);
      else reject(new Error(error?.message ?? "the target is gone"));
    }
  }

  send(method, params = {}, sessionId = undefined) {
    this.#last += 1;
    this.socket.send(JSON.stringify({ id: this.#last, method, params, sessionId }));
    return new Promise((resolve, reject) => this.#waiting.set(this.#last, { resolve, reject, sessionId }));
  }
}

/** The methods of page.js in one frame. */
class Frame {
  static async enter(send, frameId) {
    const world = await send("Page.createIsolatedWorld", { frameId, worldName: "fill" });
    const { result } = await send("Runtime.evaluate", { expression: PAGE, contextId: world.executionContextId });
    return Object.assign(new Frame(), { send, objectId: result.objectId });
  }

  async call(...given) {
    const how = { functionDeclaration: CALL, returnByValue: true, awaitPromise: true };
    const sent = { objectId: this.objectId, arguments: given.map((value) => ({ value })), ...how };
    const { result, exceptionDetails } = await this.send("Runtime.callFunctionOn", sent);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }
}

const framesOf = ({ frame, childFrames = [] }) => [frame.id, ...childFrames.flatMap(framesOf)];
const attempt = (promise) => promise.catch(() => null);
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Whether an origin is one of these, or matches one that has an asterisk. */
const covers = (allowed, origin = "") =>
  allowed.some((each) => {
    const [before, after] = each.split("*");
    return after === undefined ? each === origin : origin.startsWith(before) && origin.endsWith(after);
  });

/** The script alone. */
export class Direct {
  sessions = [];

  static async start(port) {
    const { webSocketDebuggerUrl } = await (await fetch(`http://127.0.0.1:${port}/json/version`)).json();
    return Object.assign(new Direct(), { browser: await Devtools.open(webSocketDebuggerUrl) });
  }

  async enrol(account, origins) {
    return { account, origins };
  }

  /** Every frame of every page, within and out of the process of its parent. */
  async frames(isMeant = () => true) {
    const targetInfos = (await this.browser.send("Target.getTargets", { filter: [{}] })).targetInfos.filter(isMeant);
    const prerendered = await Promise.all(
      targetInfos.filter(({ type }) => type === "tab").map((tab) => attempt(this.#prerenderedIn(tab))),
    );
    const sessions = targetInfos
      .filter(({ type }) => type === "page" || type === "iframe")
      .map((target) => attempt(this.#attach(target)));
    const entered = [...(await Promise.all(sessions)), ...prerendered.flat()].filter(Boolean).map(async (sessionId) => {
      const send = (method, params) => this.browser.send(method, params, sessionId);
      const { frameTree } = await send("Page.getFrameTree");
      return Promise.all(framesOf(frameTree).map((id) => attempt(Frame.enter(send, id))));
    });
    return (await Promise.all(entered.map(attempt))).flat().filter(Boolean);
  }

  /** The frames of one page. */
  framesOf = (address) => this.frames(({ type, url }) => type === "page" && url === address);

  async #attach({ targetId }) {
    const { sessionId } = await this.browser.send("Target.attachToTarget", { targetId, flatten: true });
    this.sessions.push(sessionId);
    return sessionId;
  }

  /** The sessions of the pages that a tab prerenders: no list of targets names these, only the tab does. */
  async #prerenderedIn(tab) {
    const sessionId = await this.#attach(tab);
    await this.browser.send(
      "Target.setAutoAttach",
      { autoAttach: true, waitForDebuggerOnStart: false, flatten: true },
      sessionId,
    );
    const within = this.browser.attached.splice(0).filter(({ targetInfo }) => targetInfo.subtype === "prerender");
    return within.map((each) => each.sessionId);
  }

  async leave() {
    await Promise.all(
      this.sessions.splice(0).map((sessionId) => attempt(this.browser.send("Target.detachFromTarget", { sessionId }))),
    );
  }

  async fill(secret, { submit = true, selector = null } = {}) {
    const loaded = Date.now() + 3000;
    for (const until = Date.now() + 10_000; Date.now() < until; await pause(100)) {
      const frames = await this.frames();
      const looks = await Promise.all(frames.map((frame) => attempt(frame.call("look", selector))));
      const isReady = (look) => look?.fields === 1 && (look.settled || Date.now() > loaded);
      const found = frames.filter((_, at) => covers(secret.origins, looks[at]?.origin) && isReady(looks[at]));
      const answer =
        found.length === 1 && (await this.#type(found[0], looks[frames.indexOf(found[0])].origin, secret, submit, selector));
      await this.leave();
      if (answer) return answer;
    }
    return { code: "invalid_argument", text: "" };
  }

  async #type(frame, origin, { account }, submit, selector) {
    const code = account.code(Math.floor(now() / 30));
    let answer = await frame.call("fill", origin, code, submit, selector);
    for (const until = Date.now() + 3000; answer.outcome === "pending" && Date.now() < until; await pause(50)) {
      answer = (await attempt(frame.call("submit"))) ?? { outcome: "submitted" };
    }
    const text = JSON.stringify(answer);
    const status = { submitted: "SUBMITTED", filled: "FILLED", pending: "FILLED" }[answer.outcome];
    return status ? { status, origin, expires_in: 30 - (now() % 30), text } : { code: answer.outcome, text };
  }

  /** Has every frame type, whatever it is: those looked into before `meanwhile`, and those that are there after it. */
  async force({ account, origins }, meanwhile) {
    const before = await this.frames();
    await Promise.all(before.map((frame) => attempt(frame.call("look"))));
    await meanwhile?.();
    const after = await this.frames();
    const answers = [];
    for (const frame of [...before, ...after]) {
      for (const origin of origins) {
        answers.push(await attempt(frame.call("fill", origin, account.code(Math.floor(now() / 30)), true)));
      }
    }
    await this.leave();
    return answers.map((answer) => answer?.outcome ?? "gone");
  }

  async end() {
    this.browser.socket.close();
  }
}

/** The program, as an agent calls it. */
export class Product {
  static async start(port) {
    const [command, ...given] = COMMAND;
    const args = [...given, "--browser", `http://127.0.0.1:${port}`];
    const product = Object.assign(new Product(), { client: new Client({ name: "robot", version: "7" }) });
    await product.client.connect(new StdioClientTransport({ command, args, env: SERVER_ENV }));
    return product;
  }

  async #ask(name, given) {
    const result = await this.client.callTool({ name, arguments: given });
    const text = JSON.stringify(result);
    return result.isError ? { text, ...JSON.parse(result.content[0].text) } : { text, ...result.structuredContent };
  }

  async enrol({ name, seed, digits }, origins) {
    const answer = await this.#ask("register_totp_secret", { label: name, secret: seed, digits, origins });
    if (!answer.totp_secret) throw new Error(answer.text);
    return answer.totp_secret.id;
  }

  fill(secret_id, { submit = true, selector } = {}) {
    return this.#ask("fill_totp_code", { secret_id, submit, ...(selector && { selector }) });
  }

  /** Has the program fill while something happens to the page. */
  async force(secret_id, meanwhile, max_wait) {
    const [answer] = await Promise.all([this.#ask("fill_totp_code", { secret_id, max_wait }), meanwhile?.()]);
    return [answer.code ?? answer.status];
  }

  end = () => this.client.close();
}
