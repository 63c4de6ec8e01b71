// Some sixty login pages that ask for a one-time code, of every kind that the filler knows, in fourteen languages. Each has an account of
// its own. What a page does beside its markup is done by plain scripts, by React, or by Vue.

import { LANGUAGES, TEXTS } from "./fill_words.mjs";

const STYLE = `<style>body { font: 16px sans-serif } .box { width: 40px; height: 48px; text-align: center } .over { position: relative; width: 300px }
  .cell { display: inline-block; width: 42px; height: 48px; border: 1px solid; box-sizing: border-box; vertical-align: top }</style>`;
const six = [0, 1, 2, 3, 4, 5];
const eight = [...six, 6, 7];
const script = (text) => `<script>${text}</script>`;
const library = (name) => `<script src="/lib/${name}.js"></script>`;
const cells = `<div aria-hidden="true">${six.map(() => `<span class="cell"></span>`).join("")}</div>`;

/** A button that requests another code: in some languages it is the one that Enter would press. */
const again = (t) => `<button ${t.lang < "k" ? `formaction="/again"` : `type="button"`}>${t.again}</button>`;
/** A form as most pages have it: the button that asks for another code comes first. */
const form = (t, fields, { more = "", button = `<button>${t.go}</button>`, attributes = "" } = {}) =>
  `<form method="post" action="${t.verify}" ${attributes}>${fields}<p>${again(t)} ${button}</p>${more}</form>`;
const page = (t, body, { heading = `<h1>${t.heading}</h1><p>${t.text}</p>`, title = t.heading } = {}) =>
  `<!doctype html><html lang="${t.lang}"><meta charset="utf-8"><title>${title}</title>${STYLE}${heading}${body}</html>`;
const boxes = (t, row = six, more = "") =>
  `<div role="group" aria-label="${t.label}">${row
    .map((at) => `<input class="box" name="d${at}" maxlength="1" inputmode="numeric" ${more}>`)
    .join("")}</div>`;

/** Sends the code as scripts do. */
const SEND = (t) => `const send = async (code) => {
  const answer = await fetch("${t.verify}", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ code }) });
  document.title = (await answer.json()).holds ? "Signed in" : "Not signed in";
};`;
/** Goes to the next box when one has its digit. */
const ADVANCE = `for (const box of document.querySelectorAll(".box"))
  box.addEventListener("input", () => box.value && box.nextElementSibling?.focus());`;

// One box that says what it is in one of many ways, and whose name says nothing.
const HINTS = [
  (t) => `<label for="f7">${t.label}</label> <input id="f7" name="code">`,
  (t) => `<input name="code" placeholder="${t.label}" inputmode="numeric">`,
  (t) => `<input name="code" aria-label="${t.label}" type="tel">`,
  (t) => `<span id="says">${t.label}</span> <input name="code" aria-labelledby="says">`,
  (t) => `<label>${t.label} <input name="code" autocomplete="off" maxlength="6"></label>`,
  () => `<input name="code" maxlength="6" pattern="[0-9]*" inputmode="numeric">`,
];

const react = (t, body) => page(t, `<div id="root"></div>${library("react")}${script(`const { createElement: h, useState, useRef } = React; ${SEND(t)}
  ${body}
  ReactDOM.createRoot(document.getElementById("root")).render(h(App));`)}`);
const vue = (t, template, setup) =>
  page(t, `<div id="root">${template}</div>${library("vue")}${script(`const { createApp, ref, computed, nextTick } = Vue; ${SEND(t)}
  createApp({ setup() { ${setup} } }).mount("#root");`)}`);
const custom = (name, body) => script(`customElements.define("${name}", class extends HTMLElement { constructor() { super();
  const root = this.attachShadow({ mode: "open" }); ${body} } });`);
const later = (milliseconds, body) => `<div id="late"></div><template>${body}</template>${script(`setTimeout(() =>
  document.getElementById("late").append(document.querySelector("template").content), ${milliseconds});`)}`;
const mask = (code) => script(`const box = document.querySelector("input[name=code]"); box.addEventListener("input", () => { ${code} });`);
const onLast = (code) => script(`const box = document.querySelector("input[name=code]"); const form = box.form;
  box.addEventListener("input", () => { if (box.value.length === 6) { ${code} } });`);
const otp = `<input name="code" autocomplete="one-time-code" inputmode="numeric" maxlength="6">`;
const labelled = (t) => HINTS[0](t);

const KINDS = [
  ...LANGUAGES.map((lang, at) => [`one box ${lang}`, (t) => page(t, form(t, HINTS[at % HINTS.length](t))), { lang }]),
  ["one box: autocomplete alone", (t) => page(t, form(t, otp), { heading: "<h1>…</h1>", title: "Acme" })],
  ["one box: camel case", (t) => page(t, form(t, `<input id="twoFactorCode" name="code">`), { heading: "", title: "Acme" })],
  ["one box: an eight-digit code", (t) => page(t, form(t, `<label>OTP <input name="code" maxlength="8"></label>`)), { digits: 8 }],
  ["six boxes: focus moves on", (t) => page(t, form(t, boxes(t)) + script(ADVANCE))],
  ["six boxes: heading alone", (t) => page(t, form(t, boxes({ ...t, label: "" }))), { lang: "fr" }],
  ["six boxes: keys are handled", (t) => page(t, form(t, boxes(t)) + script(`for (const box of document.querySelectorAll(".box"))
    box.addEventListener("keydown", (event) => {
      if (!/^\\d$/.test(event.key)) return;
      event.preventDefault(); box.value = event.key; box.nextElementSibling?.focus();
    });`)), { lang: "de" }],
  ["six boxes: numbers", (t) => page(t, form(t, boxes(t, six, `type="number"`)) + script(ADVANCE)), { lang: "ja" }],
  ["six boxes: dots for digits", (t) => page(t, form(t, boxes(t, six, `type="password"`)) + script(ADVANCE)), { lang: "pl" }],
  ["eight boxes", (t) => page(t, form(t, boxes(t, eight))), { digits: 8, lang: "es" }],
  ["eight boxes: a keyup moves on", (t) =>
    page(t, form(t, boxes(t, eight)) + script(ADVANCE.replace(`"input"`, `"keyup"`))), { digits: 8, lang: "ko" }],
  ["plain boxes", (t) => page(t, form(t, six.map((at) => `<input class="box" name="d${at}">`).join(""))), { lang: "it" }],
  ["plain boxes: three and three", (t) =>
    page(t, form(t, six.map((at) => `${at === 3 ? " – " : ""}<input class="box" name="d${at}">`).join(""))), { lang: "nl" }],
  ["plain boxes: pasted into", (t) => page(t, form(t, `${six.map(() => `<input class="box">`).join("")}<input type="hidden" name="code">`) + script(`
    const all = [...document.querySelectorAll(".box")];
    for (const box of all) {
      box.addEventListener("beforeinput", (event) => event.preventDefault());
      box.addEventListener("paste", (event) => {
        event.preventDefault();
        const code = event.clipboardData.getData("text");
        all.forEach((each, at) => (each.value = code[at]));
        document.querySelector("[name=code]").value = code;
      });
    }`)), { lang: "ru" }],
  ["drawn boxes: a transparent input over them", (t) => page(t, form(t, `<div class="over">${cells}
    <input name="code" maxlength="6" aria-label="${t.label}" style="position: absolute; inset: 0; opacity: 0"></div>`)), { lang: "tr" }],
  ["drawn boxes: an input of one pixel", (t) => page(t, form(t, `<label class="over">${cells}
    <input name="code" autocomplete="one-time-code" style="position: absolute; width: 1px; height: 1px; opacity: 0"></label>`)), { lang: "zh" }],
  ["drawn boxes: colourless digits", (t) => page(t, form(t, `<div class="over">${cells}
    <input name="code" maxlength="6" style="position: absolute; inset: 0; color: transparent; background: none; border: 0"></div>`)), { lang: "pt" }],
  ["shadow DOM: one box", (t) => page(t, `<sign-in></sign-in>${custom("sign-in", `root.innerHTML = \`${form(t, labelled(t))}\`;`)}`)],
  ["shadow DOM: a box two roots deep", (t) => page(t, `<x-out></x-out>
    ${custom("x-in", `root.innerHTML = '<input aria-label="${t.label}">';`)}
    ${custom("x-out", `${SEND(t)}
    root.innerHTML = '<x-in></x-in><button>${t.go}</button>';
    root.querySelector("button").onclick = () => send(root.querySelector("x-in").shadowRoot.querySelector("input").value);`)}`), { lang: "de" }],
  ["shadow DOM: a root for each box", (t) => page(t, `<div>${six.map(() => "<x-box></x-box>").join("")}</div><button id="go">${t.go}</button>
    ${custom("x-box", `root.innerHTML = '<input maxlength="1" style="width: 40px">';`)}${script(`${SEND(t)}
    go.onclick = () => send([...document.querySelectorAll("x-box")]
      .map((box) => box.shadowRoot.querySelector("input").value).join(""));`)}`), { lang: "fr" }],
  ["masked: a space in the middle", (t) => page(t, form(t, `<input name="code" placeholder="${t.label}" maxlength="7">`) + mask(
    `const digits = box.value.replace(/\\D/g, ""); box.value = digits.length > 3 ? digits.slice(0, 3) + " " + digits.slice(3) : digits;`))],
  ["masked: a dash after three", (t) => page(t, form(t, `<input name="code" placeholder="${t.label}" maxlength="7">`) + mask(
    `const digits = box.value.replace(/\\D/g, "");
    box.value = digits.length >= 3 ? digits.slice(0, 3) + "-" + digits.slice(3) : digits;`)), { lang: "es" }],
  ["masked: a line for each digit", (t) => page(t, form(t, `<input name="code" aria-label="${t.label}">`) + mask(`
    const digits = box.value.replace(/\\D/g, "").slice(0, 6); box.value = digits.padEnd(6, "_");
    box.setSelectionRange(digits.length, digits.length);`)), { lang: "it" }],
  ["React: one box", (t) => react(t, `const App = () => { const [code, set] = useState("");
    return h("form", { onSubmit: (event) => { event.preventDefault(); send(code); } },
      h("input", { "aria-label": "${t.label}", value: code, onChange: (event) => set(event.target.value.replace(/\\D/g, "").slice(0, 6)) }),
      h("button", { disabled: code.length !== 6 }, "${t.go}")); };`)],
  ["React: six boxes", (t) => react(t, `const App = () => { const [code, set] = useState(Array(6).fill("")); const all = useRef([]);
    const change = (at) => (event) => {
      set((old) => old.map((digit, each) => (each === at ? event.target.value.slice(-1) : digit))); all.current[at + 1]?.focus(); };
    return h("div", null, code.map((digit, at) => h("input", { key: at, className: "box", maxLength: 1, value: digit,
      ref: (box) => { all.current[at] = box; }, onChange: change(at) })),
      h("button", { disabled: code.join("").length < 6, onClick: () => send(code.join("")) }, "${t.go}")); };`), { lang: "nl" }],
  ["React: sends by itself", (t) => react(t, `const App = () => { const [code, set] = useState(""); const [busy, wait] = useState(false);
    const change = (event) => { set(event.target.value); if (event.target.value.length === 6) { wait(true); send(event.target.value); } };
    return h("div", null, h("input", { autoComplete: "one-time-code", value: code, onChange: change }),
      h("button", { disabled: busy, onClick: () => send(code) }, "${t.go}")); };`), { lang: "pl" }],
  ["React: made anew on focus", (t) => react(t, `const App = () => { const [code, set] = useState(""); const [key, renew] = useState(0);
    return h("form", { onSubmit: (event) => { event.preventDefault(); send(code); } },
      h("input", { key, placeholder: "${t.label}", value: code, onFocus: () => renew(1), onChange: (event) => set(event.target.value) }),
      h("button", null, "${t.go}")); };`), { lang: "ru" }],
  ["Vue: one box", (t) => vue(t, `<form @submit.prevent="send(code)">
    <input v-model.trim="code" aria-label="${t.label}"><button :disabled="code.length < 6">${t.go}</button></form>`,
    `const code = ref(""); return { code, send };`), { lang: "ja" }],
  ["Vue: six boxes", (t) => vue(t, `<div>
    <input v-for="(_, at) in code" class="box" maxlength="1" v-model="code[at]" @input="$event.target.nextElementSibling?.focus()"><br>
    <button type="button" @click="send(code.join(''))">${t.go}</button></div>`,
    `const code = ref(Array(6).fill("")); return { code, send };`), { lang: "ko" }],
  ["Vue: a button that comes", (t) => vue(t, `<label>${t.label} <input v-model="code"></label>
    <button v-if="code.length === 6" @click="send(code)">${t.go}</button>`,
    `const code = ref(""); return { code, send };`), { lang: "zh" }],
  ["a frame of another site", (t) => page(t, form(t, labelled(t))), { framed: [""] }],
  ["a frame within a frame", (t) => page(t, form(t, boxes(t)) + script(ADVANCE)), { framed: ["", ""], lang: "tr" }],
  ["a frame beside one that asks, too", (t) => page(t, form(t, otp)), {
    framed: [`<form><input autocomplete="one-time-code"><button>Verify</button></form>`], lang: "sv" }],
  ["slow: one second", (t) => page(t, later(1000, form(t, labelled(t)))), { lang: "de" }],
  ["slow: its script comes after its form", (t) => page(t, `<form>${labelled(t)}<button>${t.go}</button></form>${script(SEND(t))}
    <script async src="/late.js" onload="document.forms[0].onsubmit = (event) => {
      event.preventDefault(); send(document.querySelector('[name=code]').value); }"></script>`)],
  ["slow: four seconds", (t) => page(t, later(4000, form(t, boxes(t))))],
  ["made anew on focus", (t) => page(t, form(t, `<input name="code" placeholder="${t.label}">`) + script(`addEventListener("focusin", (event) => {
    const box = event.target; if (box.name !== "code" || globalThis.renewed) return; globalThis.renewed = true; box.replaceWith(box.cloneNode());
  });`)), { lang: "fr" }],
  ["made anew on the first digit", (t) => page(t, form(t, `<input name="code" placeholder="${t.label}">`) +
    script(`addEventListener("input", (event) => {
    const box = event.target; if (globalThis.renewed) return; globalThis.renewed = true;
    const next = box.cloneNode(); next.value = box.value; box.replaceWith(next);
  });`)), { lang: "es" }],
  ["sends by itself: form.submit()", (t) => page(t, form(t, labelled(t)) + onLast("form.submit();")), { lang: "pt" }],
  ["sends by itself: requestSubmit()", (t) => page(t, form(t, otp) + script(SEND(t)) + onLast(`form.requestSubmit();`) +
    script(`document.forms[0].addEventListener("submit", (event) => { event.preventDefault(); send(document.querySelector("[name=code]").value); });`)),
    { lang: "it" }],
  ["sends by itself: fetch, emptied", (t) => page(t, form(t, otp) + onLast(`${SEND(t)} send(box.value); box.value = "";`))],
  ["a button that is enabled late", (t) => page(t, form(t, labelled(t), { button: `<button id="go" disabled>${t.go}</button>` }) +
    onLast(`setTimeout(() => (document.getElementById("go").disabled = false), 700);`)), { lang: "nl" }],
  ["a form without a button", (t) => page(t, `<form method="post" action="${t.verify}">${labelled(t)}</form>`), { lang: "pl" }],
  ["no form: a drawn button", (t) => page(t, `${HINTS[1](t)}<div role="button" tabindex="0">${t.go}</div>${script(`${SEND(t)}
    document.querySelector("[role=button]").onclick = () => send(document.querySelector("input").value);`)}`), { lang: "ru" }],
  ["no form: Enter", (t) => page(t, `${HINTS[2](t)}${script(`${SEND(t)}
    document.querySelector("input").addEventListener("keydown", (event) => event.key === "Enter" && send(event.target.value));`)}`), { lang: "tr" }],
  ["neighbours: promo, phone and search", (t) => page(t, `<form action="/search">
    <input type="search" name="q"><button>Search</button></form>${form(t, labelled(t))}
    <form><label>Promo code <input name="promo_code" maxlength="6"></label>
    <label>Phone number <input type="tel" name="phone"></label><button>Continue</button></form>`)],
  ["neighbours: a recovery code and a ZIP code", (t) => page(t, `${form(t, otp)}<form><label>Recovery code <input name="recovery"></label>
    <label>ZIP code <input name="zip" maxlength="6" inputmode="numeric"></label><label>Card security code <input name="cvc" maxlength="4"></label><button>Sign in</button></form>`)],
  ["neighbours: fields that nobody sees", (t) => page(t, form(t, `
    <input name="otp" style="position: absolute; left: -9999px"><input name="verification_code" style="opacity: 0" tabindex="-1">
    <div style="height: 0; overflow: hidden"><input name="security_code"></div><div hidden><input autocomplete="one-time-code"></div>${labelled(t)}`))],
  ["one box: dots for digits", (t) => page(t, form(t, `<label>${t.label} <input name="code" type="password"></label>`))],
  ["one box: its form is shown", (t) => page(t, form(t, `<input name="code" placeholder="000 000">`))],
  ["neighbours: other ways and a newsletter", (t) => page(t, `<div>${HINTS[1](t)}<div>${["Didn't get a verification code?", "Continue with SMS", t.go]
    .map((text) => `<button>${text}</button>`).join("")}</div></div><form action="/search"><input type="email" name="q"><button>Submit</button></form>
    ${script(`${SEND(t)} document.querySelectorAll("div button")[2].onclick = () => send(document.querySelector("input").value);`)}`)],
  ["neighbours: a newsletter alone", (t) => page(t, `${HINTS[2](t)}<form action="/search"><input type="email" name="q"><button>Submit</button></form>
    ${script(`${SEND(t)} document.querySelector("input").addEventListener("keydown", (event) => event.key === "Enter" && send(event.target.value));`)}`)],
];

/** Puts every page onto a site; each with its account, the address to open, and the origin where the code belongs. */
export function showPages(site) {
  site.show("/late.js", (_, response) => void setTimeout(() => site.send(response, "", "text/javascript"), 1500));
  const [own, foreign] = [`http://localhost:${site.http}`, `http://127.0.0.1:${site.http}`];
  return KINDS.map(([name, make, { lang = "en", digits = 6, framed } = {}], at) => {
    const id = `page${at}`;
    const account = site.account(id, digits);
    site.show(`/${id}`, make({ ...TEXTS[lang], verify: `/verify/${id}` }));
    // Every sixth is reached by https.
    const origin = at % 6 === 5 && !framed ? `https://accounts.example.com:${site.secure}` : own;
    let url = `${origin}/${id}`;
    for (const [depth, beside] of (framed ?? []).entries()) {
      const path = `/frame${depth}-${id}`;
      site.show(path, `<!doctype html><title>Portal</title><h1>Portal</h1>${beside}<iframe width="600" height="400" src="${url}"></iframe>`);
      url = foreign + path;
    }
    const allowed = at % 12 === 11 ? origin.replace("accounts", "*") : origin;
    return { name, account, url, origin, allowed };
  });
}
