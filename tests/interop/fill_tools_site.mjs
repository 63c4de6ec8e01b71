// A site with two-factor logins, for the judge of agents' browser tools: it verifies RFC 6238 codes with its own oracle, accepts
// each step of an account once, and counts the logins.

import { once } from "node:events";
import { createServer } from "node:http";
import { codeAt, now } from "./kit.mjs";

const PERIOD = 30;

const page = (title, body) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title><h1>${title}</h1>${body}</html>`;

const ASK_USER = page(
  "Sign in",
  `<form method="post" action="/user"><label>User name <input name="user" autocomplete="username"></label>
  <button>Next</button></form>`,
);

// Without `autocomplete="one-time-code"`: some tools show no value of such a field, and here nothing but the product may hide it.
const askCode = (user, trouble = "") =>
  page(
    "Two-step verification",
    `<p>${user}, enter the code of your authenticator app.</p><p role="alert">${trouble}</p>
  <form method="post" action="/code"><input type="hidden" name="user" value="${user}">
  <label>Verification code <input name="otp" inputmode="numeric"></label>
  <button>Verify</button></form>`,
  );

const welcome = (user) => page("Welcome", `<p>${user} is logged in.</p>`);

async function form(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return new URLSearchParams(Buffer.concat(parts).toString());
}

export class Site {
  accounts = new Map();
  /** The codes that it was sent, with whether each was accepted. */
  tried = [];

  static async start() {
    const site = new Site();
    site.server = createServer((request, response) => void site.answer(request, response));
    site.server.listen(0, "127.0.0.1");
    await once(site.server, "listening");
    site.origin = `http://127.0.0.1:${site.server.address().port}`;
    return site;
  }

  add(user, seed) {
    this.accounts.set(user, { seed, used: new Set(), logins: 0 });
  }

  logins = (user) => this.accounts.get(user).logins;

  /** Whether a code is of this step or of the one before, and its step was not used yet; marks the step as used. */
  accepts(account, code) {
    const step = Math.floor(now() / PERIOD);
    const right = [step, step - 1].find((each) => codeAt(account.seed, each) === code && !account.used.has(each));
    if (right !== undefined) account.used.add(right);
    return right !== undefined;
  }

  async answer(request, response) {
    const show = (text, status = 200) => response.writeHead(status, { "content-type": "text/html; charset=utf-8" }).end(text);
    if (request.method !== "POST") return request.url === "/" ? show(ASK_USER) : show(page("Not found", ""), 404);
    const sent = await form(request);
    const user = sent.get("user");
    const account = this.accounts.get(user);
    if (!account) return show(ASK_USER, 403);
    if (request.url === "/user") return show(askCode(user));
    const accepted = this.accepts(account, sent.get("otp"));
    this.tried.push({ user, code: sent.get("otp"), accepted });
    if (!accepted) return show(askCode(user, "That code is wrong or was used."), 403);
    account.logins += 1;
    show(welcome(user));
  }

  close() {
    this.server.closeAllConnections();
    this.server.close();
  }
}
