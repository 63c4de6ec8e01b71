// The site that codes are filled into: it checks RFC 6238 codes by its own oracle, takes each step once, and counts the
// sign-ins. Two listeners are of http, for every loopback name, and two of https, for names that the browser's resolver
// rules lead here.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { codeAt, now } from "./kit.mjs";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const PERIOD = 30;
/** A seed for each account, of 160 bits. */
const seedOf = (name) => [...createHash("sha256").update(name).digest()].map((byte) => ALPHABET[byte % 32]).join("");

/** An account with a second factor, and what became of the codes that were sent for it. */
class Account {
  constructor(name, digits) {
    Object.assign(this, { name, digits, seed: seedOf(name), used: new Set(), accepted: 0, refused: [] });
  }

  steps = () => [-1, 0, 1].map((by) => Math.floor(now() / PERIOD) + by);
  code = (step) => codeAt(this.seed, step, this.digits);

  /** Every code that could have been typed in the last minutes. */
  recent = () => Array.from({ length: 12 }, (_, by) => this.code(Math.floor(now() / PERIOD) + 2 - by));

  take(code) {
    const step = this.steps().find((each) => this.code(each) === code);
    const why = step === undefined ? "wrong" : this.used.has(step) ? "used" : null;
    if (why) this.refused.push(why);
    else this.accepted += 1;
    this.used.add(step);
    return why === null;
  }
}

/** Modules of npm as one script for a page, which has no `require`. */
function bundle(exposed, entries) {
  const require = createRequire(import.meta.url);
  const client = createRequire(require.resolve("react-dom/client"));
  const file = (name, part) => readFileSync(join(dirname(client.resolve(`${name}/package.json`)), "cjs", part), "utf8");
  const wrapped = entries.map(
    ([name, of, part]) => `${JSON.stringify(name)}: (module, exports, require) => {${file(of, part)}\n}`,
  );
  return `(() => {
    const made = {}, modules = {${wrapped.join(",\n")}};
    const require = (name) => {
      if (!made[name]) modules[name]((made[name] = { exports: {} }), made[name].exports, require);
      return made[name].exports;
    };
    ${exposed.map(([global, name]) => `globalThis.${global} = require("${name}");`).join("\n")}
  })();`;
}

const LIBRARIES = {
  "/lib/react.js": () =>
    bundle(
      [
        ["React", "react"],
        ["ReactDOM", "react-dom/client"],
      ],
      [
        ["react", "react", "react.production.js"],
        ["scheduler", "scheduler", "scheduler.production.js"],
        ["react-dom", "react-dom", "react-dom.production.js"],
        ["react-dom/client", "react-dom", "react-dom-client.production.js"],
      ],
    ),
  "/lib/vue.js": () => readFileSync(createRequire(import.meta.url).resolve("vue/dist/vue.global.prod.js"), "utf8"),
};

/** A certificate for the names of the tests; the browser is started so that it accepts any signer. */
function certificate() {
  const folder = mkdtempSync(join(tmpdir(), "fill-"));
  const [key, cert] = ["key.pem", "cert.pem"].map((name) => join(folder, name));
  const made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  const names = ["-subj", "/CN=example.com", "-addext", "subjectAltName=DNS:example.com,DNS:*.example.com,DNS:localhost"];
  // Without this, it would be an authority's certificate, which a strict client does not accept for a site.
  names.push("-addext", "basicConstraints=critical,CA:FALSE");
  try {
    execFileSync("openssl", [...made, ...names, "-keyout", key, "-out", cert], { stdio: "ignore" });
    return { key: readFileSync(key), cert: readFileSync(cert) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** The code in a form's fields or in JSON: one field of its own, or one for each digit, in the order of the form. */
function codeIn(body, type) {
  const fields = type.includes("json") ? Object.entries(JSON.parse(body)) : [...new URLSearchParams(body)];
  const whole = fields.find(([name]) => name === "code");
  const text = whole
    ? String(whole[1])
    : fields
        .filter(([name]) => /^d\d$/.test(name))
        .map(([, digit]) => digit)
        .join("");
  return text.replace(/[\s-]/g, "");
}

/** Its ports are in `http`, `otherHttp`, `secure`, `otherSecure`. Emits `ended NAME` for each code that it was sent. */
export class Site extends EventEmitter {
  accounts = new Map();
  pages = new Map();
  /** The digits that pages report to have seen, by the name of the case. */
  seen = new Map();

  static async start() {
    const site = new Site();
    const answer = (request, response) => void site.answer(request, response).catch((error) => response.destroy(error));
    const secured = certificate();
    site.certificate = secured.cert;
    site.servers = {
      http: createServer(answer),
      otherHttp: createServer(answer),
      secure: createSecureServer(secured, answer),
      otherSecure: createSecureServer(secured, answer),
    };
    for (const [name, server] of Object.entries(site.servers)) {
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      site[name] = server.address().port;
    }
    /** The origins of the hostile cases' secret. */
    site.allowed = [`https://accounts.example.com:${site.secure}`, `http://localhost:${site.http}`];
    return site;
  }

  account(name, digits = 6) {
    const made = new Account(name, digits);
    this.accounts.set(name, made);
    return made;
  }

  /** `page` is HTML, a function of the request that returns HTML, or one that answers by itself and returns nothing. */
  show(path, page) {
    this.pages.set(path, page);
  }

  async answer(request, response) {
    const { pathname } = new URL(request.url, "http://site");
    const [, kind, name] = pathname.split("/");
    if (kind === "lib") return this.send(response, LIBRARIES[pathname](), "text/javascript");
    if (kind === "seen") {
      this.seen.set(name, [...(this.seen.get(name) ?? []), await bodyOf(request)]);
      this.emit(`seen ${name}`);
      response.setHeader("access-control-allow-origin", "*");
      return this.send(response, "");
    }
    if (kind === "ready") {
      this.emit(`ready ${name}`);
      return this.send(response, "");
    }
    if (kind === "verify") return this.verify(name, request, response);
    const page = this.pages.get(pathname);
    if (page === undefined) return response.writeHead(404).end();
    const html = typeof page === "function" ? page(request, response) : page;
    if (html !== undefined) this.send(response, html);
  }

  async verify(name, request, response) {
    const account = this.accounts.get(name);
    const asked = request.method === "POST" ? await bodyOf(request) : new URL(request.url, "http://site").search.slice(1);
    const type = request.headers["content-type"] ?? "";
    const holds = account.take(codeIn(asked, type));
    if (type.includes("json")) this.send(response, JSON.stringify({ holds }), "application/json");
    else
      this.send(
        response,
        `<!doctype html><title>${holds ? "Signed in" : "Not signed in"}</title><h1>${holds ? "Welcome" : "No"}</h1>`,
      );
    this.emit(`ended ${name}`);
  }

  send(response, text, type = "text/html") {
    response.setHeader("content-type", `${type}; charset=utf-8`);
    response.setHeader("cache-control", "no-store");
    response.end(text);
  }

  /** Waits until a code was sent for an account, at most `milliseconds`. */
  async settled({ name, accepted, refused }, milliseconds = 5000) {
    if (accepted + refused.length > 0) return;
    await once(this, `ended ${name}`, { signal: AbortSignal.timeout(milliseconds) }).catch(() => null);
  }

  /** Waits until a recorder has reported something, at most ten seconds. */
  async told(id) {
    if (!this.seen.has(id)) await once(this, `seen ${id}`, { signal: AbortSignal.timeout(10_000) }).catch(() => null);
  }

  end() {
    for (const server of Object.values(this.servers)) {
      server.close();
      server.closeAllConnections();
    }
  }
}
