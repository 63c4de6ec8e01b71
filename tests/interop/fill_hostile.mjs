// Three hundred pages that must not get a digit of a code: what looks like the right origin, documents that have none, scripts that
// lie, and pages that change while they are looked at. Whatever must stay empty is watched by a recorder.

import { once } from "node:events";
import { escaped, names, quoted, RECORDER, trap, writeInto } from "./fill_recorder.mjs";

// Each group yields cases: a name, whether others can be open beside it, and how a page becomes it. `meanwhile` happens after the look.
// With `touched`, the page is hostile only once the program has begun to type.
const open = (url) => async (page) => void (await page.goto(url));

function* wrongHosts(site) {
  const [s, p] = [site.secure, site.http];
  const hosts = [
    "accounts.example.com.evil.test",
    "accounts-example.com",
    "accounts.examp1e.com",
    "example.com",
    "www.accounts.example.com",
  ];
  hosts.push(
    "accounts.example.org",
    "accounts.xn--exmple-4nf.com",
    "accounts.example.com.",
    "accounts.example.com@evil.test",
    "accountsexample.com",
  );
  hosts.push(
    "account.example.com",
    "accounts.example.com.example.org",
    "accounts.example.comm",
    "127.0.0.1",
    "localhost",
    "accounts.example.com.localhost",
  );
  const bases = hosts.map((host) => `https://${host}:${s}`);
  bases.push(`https://accounts.example.com:${site.otherSecure}`, `http://accounts.example.com:${p}`);
  bases.push(
    `http://127.0.0.1:${p}`,
    `http://localhost:${site.otherHttp}`,
    `http://accounts.localhost:${p}`,
    `https://localhost:${site.otherSecure}`,
  );
  bases.push(`http://localhost.evil.test:${p}`, `http://localhost.:${p}`);
  for (const base of bases) {
    for (const design of names(5)) {
      yield {
        name: `${base.replace(/\d{4,}/, "PORT")}, ${design}`,
        make: (at) => (site.show(at.path, trap(at, design)), open(base + at.path)),
      };
    }
  }
}

/** Documents without a web origin, within an allowed page or a foreign one. */
function* opaque(site) {
  const kinds = {
    "about:blank": (html) => `<iframe></iframe><script>${writeInto("frames[0]", html)}</script>`,
    "data:": (html) => `<iframe src="data:text/html,${encodeURIComponent(html)}"></iframe>`,
    "blob:": (html) =>
      `<iframe></iframe><script>document.querySelector("iframe").src =
        URL.createObjectURL(new Blob([${quoted(html)}], { type: "text/html" }));</script>`,
    srcdoc: (html) => `<iframe srcdoc="${escaped(html)}"></iframe>`,
    "javascript:": (html) =>
      `<iframe></iframe><script>document.querySelector("iframe").src =
        "javascript:" + encodeURIComponent(JSON.stringify(${quoted(html)}));</script>`,
    "sandboxed, of the allowed origin": (html, at) => (
      site.show(`${at.path}-in`, html),
      `<iframe sandbox="allow-scripts allow-forms" src="${site.allowed[0]}${at.path}-in"></iframe>`
    ),
    "sandboxed srcdoc": (html) => `<iframe sandbox="allow-scripts" srcdoc="${escaped(html)}"></iframe>`,
    "sandboxed by its own policy": (html, at) => {
      site.show(
        `${at.path}-in`,
        (_, response) => (response.setHeader("content-security-policy", "sandbox allow-scripts allow-forms"), html),
      );
      return `<iframe src="${site.allowed[0]}${at.path}-in"></iframe>`;
    },
  };
  for (const [kind, frame] of Object.entries(kinds)) {
    for (const [by, base] of Object.entries({
      "an allowed page": site.allowed[0],
      "a foreign page": `https://evil.test:${site.secure}`,
    })) {
      for (const design of names(3)) {
        const make = (at) => (
          site.show(at.path, `<!doctype html><title>Portal</title>${frame(trap(at, design), at)}`),
          open(base + at.path)
        );
        yield { name: `${kind} in ${by}, ${design}`, make };
      }
    }
  }
}

/** Foreign pages whose scripts and names claim the allowed origin. */
function* liars(site) {
  const allowed = JSON.stringify(site.allowed[0]);
  const scripts = {
    "origin is defined": `Object.defineProperty(globalThis, "origin", { value: ${allowed} });`,
    "origin is assigned": `globalThis.origin = ${allowed};`,
    "a getter on every object": `Object.defineProperty(Object.prototype, "origin", { get: () => ${allowed} });`,
    "document.domain": `try { document.domain = "evil.test"; } catch {}`,
    "includes is always true": `Array.prototype.includes = String.prototype.includes = () => true;`,
    "everything is called differently": `const call = Function.prototype.call;
      Function.prototype.call = function (...given) { return this.name === "origin" ? ${allowed} : call.apply(this, given); };`,
    "promises are never kept": `Promise.prototype.then = function () { return this; }; globalThis.Promise = class {};`,
    "values are intercepted": `Object.defineProperty(HTMLInputElement.prototype, "value",
      { get: () => "", set(text) { note(text); } });`,
    "the address says so": `history.replaceState(null, "", "/" + encodeURIComponent(${allowed}));`,
    "texts are equal": `String.prototype.valueOf = String.prototype.toString = () => ${allowed}; Object.is = () => true;`,
  };
  const marks = {
    "names that hide properties": `<img name="prerendering"><form name="location"></form>
      <iframe name="origin"></iframe><a id="self"></a>`,
  };
  marks["a base of the allowed origin"] =
    `<base href=${allowed}><meta property="og:url" content=${allowed}><link rel="canonical" href=${allowed}>`;
  for (const [name, text] of [
    ...Object.entries(scripts).map(([name, text]) => [name, `<script>${text}</script>`]),
    ...Object.entries(marks),
  ]) {
    for (const design of names(3)) {
      const make = (at) => (
        site.show(at.path, trap(at, design, { before: text })),
        open(`https://www.evil.test:${site.secure}${at.path}`)
      );
      yield { name: `liar: ${name}, ${design}`, make };
    }
  }
}

/** Roads that begin at the allowed origin and end elsewhere, before the look. */
function* redirects(site) {
  const roads = {
    "a redirect": (to) => (_, response) => void response.writeHead(302, { location: to }).end(),
    "a refresh": (to) => `<meta http-equiv="refresh" content="0; url=${to}">`,
    "a script": (to) => `<script>location.replace(${JSON.stringify(to)});</script>`,
    "a form": (to) => `<form method="post" action="${to}"></form><script>document.forms[0].submit();</script>`,
  };
  for (const [road, page] of Object.entries(roads)) {
    for (const design of names(3)) {
      const make = (at) => {
        const to = `https://evil.test:${site.secure}${at.path}-end`;
        site.show(`${at.path}-end`, trap(at, design));
        site.show(at.path, page(to));
        return async (page) => (await page.goto(site.allowed[0] + at.path).catch(() => null), page.waitForURL(to));
      };
      yield { name: `${road} from the allowed origin, ${design}`, make };
    }
  }
}

/** Lets a call fail that makes its page go away, if the page went before it answered. */
const going = (asked) =>
  asked.catch((problem) => {
    if (!/context was destroyed/.test(problem.message)) throw problem;
  });

/** The right page, with a field, that goes away between the look and the typing. */
function* departures(site) {
  const ways = {
    "the tab is led elsewhere": (page, to) => page.goto(to),
    "the page leaves": (page, to) => Promise.all([page.waitForURL(to), going(page.evaluate((to) => location.assign(to), to))]),
    "the page is replaced": (page, to) => Promise.all([page.waitForURL(to), going(page.evaluate((to) => location.replace(to), to))]),
    "a form is posted": (page, to) =>
      Promise.all([
        page.waitForURL(to),
        going(page.evaluate((to) => Object.assign(document.forms[0], { action: to, method: "post" }).submit(), to)),
      ]),
    back: (page, to) => Promise.all([page.waitForURL(to), going(page.evaluate(() => history.back()))]),
    "a link": (page, to) =>
      Promise.all([
        page.waitForURL(to),
        going(page.evaluate((to) => Object.assign(document.createElement("a"), { href: to }).click(), to)),
      ]),
  };
  for (const [way, leave] of Object.entries(ways)) {
    for (const design of names(3)) {
      const make = (at) => {
        const to = `https://evil.test:${site.secure}${at.path}-end`;
        site.show(`${at.path}-end`, trap(at, design));
        site.show(at.path, trap(at, design, { watch: "" }));
        return async (page) => (await page.goto(to), await page.goto(site.allowed[0] + at.path), () => leave(page, to));
      };
      yield { name: `meanwhile ${way}, ${design}`, alone: true, make };
    }
  }
  for (const design of names(3)) {
    const make = (at) => {
      const to = `https://evil.test:${site.secure}${at.path}-end`;
      site.show(`${at.path}-end`, trap(at, design));
      site.show(`${at.path}-in`, trap(at, design, { watch: "" }));
      site.show(at.path, `<!doctype html><title>Portal</title><iframe src="${site.allowed[0]}${at.path}-in"></iframe>`);
      return async (page) => {
        await page.goto(`https://portal.test:${site.secure}${at.path}`);
        return () =>
          Promise.all([
            page.waitForEvent("framenavigated"),
            page.evaluate((to) => void (document.querySelector("iframe").src = to), to),
          ]);
      };
    };
    yield { name: `meanwhile the frame is led elsewhere, ${design}`, alone: true, make };
  }
}

const ALL = `const all = [...document.querySelectorAll("form input")], form = document.forms[0];`;
const FRAME = `const frame = document.body.appendChild(document.createElement("iframe"));`;
const swap = (html) => `${ALL} form.innerHTML = ${JSON.stringify(html)}; watch(form);`;
/** Places to which a page can move its own boxes, out of the document that was looked at. */
const MOVES = {
  "into a blank frame": `${ALL} ${FRAME} frame.contentDocument.body.append(...all); all.forEach(watch);`,
  "into a document that nobody sees": `${ALL}
    new DOMParser().parseFromString("<body>", "text/html").body.append(...all); all.forEach(watch);`,
  "into a closed root": `${ALL} const host = document.body.appendChild(document.createElement("div"));
    host.attachShadow({ mode: "closed" }).append(...all); all.forEach(watch);`,
  "out of the page": `${ALL} all.forEach((box) => box.remove()); all.forEach(watch);`,
};

/** The right page, whose field becomes another between the look and the typing. */
function* swaps(site) {
  const ways = {
    ...MOVES,
    "for a field of a foreign frame": `${ALL} all.forEach((box) => box.remove()); ${FRAME}
      frame.src = foreign; await new Promise((loaded) => (frame.onload = loaded));`,
    "for a promo code": swap(`<label>Promo code <input name="promo"></label>`),
    "for a password": swap(`<label>Password <input type="password"></label>`),
    "for a recovery code": swap(`<label>Recovery code <input name="recovery"></label>`),
  };
  for (const [way, code] of Object.entries(ways)) {
    for (const design of names(2)) {
      const make = (at) => {
        const foreign = `https://evil.test:${site.secure}${at.path}-in`;
        site.show(`${at.path}-in`, trap(at, design));
        site.show(at.path, trap(at, design, { watch: "", after: `<script>globalThis.foreign = "${foreign}";</script>` }));
        const run = (page) =>
          page.evaluate(`(async () => {
            const isFilled = [...document.querySelectorAll("input")].some(({ value }) => value);
            document.querySelector("h1").remove();
            document.title = "Shop";
            ${code}
            return isFilled ? "filled before" : "";
          })()`);
        return async (page) => (await page.goto(site.allowed[0] + at.path), () => run(page));
      };
      yield { name: `meanwhile swapped ${way}, ${design}`, alone: true, make };
    }
  }
}

/** The right page, which moves its boxes when the first is touched. */
function* reactions(site) {
  // The page knows the event that moved the boxes; it must not get the digit.
  for (const kind of ["focusin", "keydown", "beforeinput"]) {
    for (const [way, code] of Object.entries(MOVES)) {
      const make = (at) => {
        const after = `<script>addEventListener("${kind}", (event) => { globalThis.cause = event;
          if (event.target.matches("form input")) { ${code} } });</script>`;
        site.show(at.path, trap(at, "six boxes", { watch: "", after }));
        return open(site.allowed[0] + at.path);
      };
      yield { name: `on ${kind} its boxes go ${way}`, alone: true, touched: true, make };
    }
  }
}

/** Pages prerendered by one of the same origin, which the browser does only in a tab that no test tool drives. */
function* unseen(site) {
  for (const [at, base] of site.allowed.entries()) {
    for (const design of names(3)) {
      const make = ({ to, path }) => {
        const watch = `watch(document);
          if (document.prerendering) fetch("${to.replace("/seen/", "/ready/")}", { method: "POST", mode: "no-cors" });`;
        site.show(`${path}-next`, trap({ to }, design, { watch }));
        const rules = JSON.stringify({ prerender: [{ source: "list", urls: [`${path}-next`], eagerness: "immediate" }] });
        const asked = new Promise((resolve) => site.show(`${path}-rules`, (_, response) => void resolve(response)));
        site.show(
          path,
          `<!doctype html><title>Home</title><script>fetch("${path}-rules").then((answer) => answer.text()).then((textContent) =>
          document.head.append(Object.assign(document.createElement("script"), { type: "speculationrules", textContent })));</script>`,
        );
        return async (_, openFreely) => {
          const ready = once(site, `ready ${path.slice(1)}`, { signal: AbortSignal.timeout(10_000) });
          await openFreely(base + path);
          (await asked).end(rules);
          await ready;
        };
      };
      yield { name: `prerendered ${at}, ${design}`, alone: true, prerendered: base, make };
    }
  }
}

function* popups(site) {
  const ways = {
    "of a foreign origin": (url) => `open(${JSON.stringify(url)});`,
    "of a foreign origin without an opener": (url) => `open(${JSON.stringify(url)}, "_blank", "noopener");`,
    "that is blank": (_, html) => `const made = open(); ${writeInto("made", html)}`,
    "of a blob": (_, html) => `open(URL.createObjectURL(new Blob([${quoted(html)}], { type: "text/html" })));`,
    "that is led elsewhere": (url) =>
      `const made = open(location.href + "-home"); made.onload = () => { made.location = ${JSON.stringify(url)}; };`,
  };
  for (const [way, code] of Object.entries(ways)) {
    for (const design of names(3)) {
      const make = (at) => {
        const html = trap(at, design, {
          after: `<script>fetch("${at.to.replace("/seen/", "/ready/")}", { method: "POST", mode: "no-cors" });</script>`,
        });
        site.show(`${at.path}-in`, html);
        site.show(`${at.path}-home`, "<!doctype html><title>Home</title>");
        site.show(
          at.path,
          `<!doctype html><title>Home</title><script>${code(`https://evil.test:${site.secure}${at.path}-in`, html)}</script>`,
        );
        const ready = once(site, `ready ${at.path.slice(1)}`, { signal: AbortSignal.timeout(10_000) });
        return async (page) => (await page.goto(site.allowed[0] + at.path), await ready, undefined);
      };
      yield { name: `a popup ${way}, ${design}`, make };
    }
  }
}

/** Fields of the right page that are for something else. */
function* otherFields(site) {
  const fields = [
    `<label>Password <input type="password" autocomplete="current-password"></label>`,
    `<label>Password or passcode <input type="password" name="password"></label>`,
    `<label>Promo code <input name="code" maxlength="6"></label>`,
    `<label>Gutscheincode <input name="code"></label>`,
    `<label>Code postal <input name="cp" inputmode="numeric" maxlength="6"></label>`,
    `<label>Phone number <input type="tel" name="phone"></label>`,
    `<label>Security code <input autocomplete="cc-csc" maxlength="6"></label>`,
    `<label>Backup code <input name="code"></label>`,
    `<label>ZIP code <input name="code" maxlength="6" inputmode="numeric"></label>`,
    `<label>Code de récupération <input name="code"></label>`,
    `<label>クーポンコード <input name="code"></label>`,
    `<label>Country code <input name="code" inputmode="numeric"></label>`,
    `<label>E-mail <input name="email" inputmode="email"></label>`,
    `<label>图形验证码 <input name="code" maxlength="6"></label>`,
    `<label>Search <input name="q" inputmode="search"></label>`,
  ];
  for (const [at, field] of fields.entries()) {
    const heading = at % 2 ? "" : "<h1>Two-factor authentication</h1>";
    const make = ({ to, path }) => {
      site.show(
        path,
        `<!doctype html><title>Acme</title><script>${RECORDER(to)} watch(document);</script>
          ${heading}<form onsubmit="return false">${field}<button>Continue</button></form>`,
      );
      return open(site.allowed[0] + path);
    };
    yield { name: `another field: ${field.replace(/<.*?>/g, "").trim()}`, make };
  }
}

/** All hostile cases. `open` of each makes a page hostile, and may return a function to call after the look. */
export function hostileCases(site) {
  const groups = [wrongHosts, opaque, liars, redirects, departures, swaps, reactions, unseen, popups, otherFields];
  return groups
    .flatMap((group) => [...group(site)].map((each) => ({ ...each, group: group.name })))
    .map((each, at) => {
      const id = `hostile${at}`;
      const place = { id, path: `/${id}`, to: `http://127.0.0.1:${site.otherHttp}/seen/${id}` };
      const prerendered = each.prerendered && `${each.prerendered}${place.path}-next`;
      return { ...each, id, prerendered, open: (page, openFreely) => each.make(place)(page, openFreely) };
    });
}
