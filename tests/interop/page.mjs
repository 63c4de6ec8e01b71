// A person with a browser, who adds a secret on the page of an enrolment.

/** A browser: it keeps cookies, returns redirects without following them, and sends forms with the page's origin. */
export class Browser {
  cookies = new Map();

  async open(url, form = null) {
    const cookie = [...this.cookies].map((pair) => pair.join("=")).join("; ");
    const sent = form ? { method: "POST", body: new URLSearchParams(form) } : {};
    const headers = { ...(cookie && { cookie }), ...(form && { origin: new URL(url).origin }) };
    const answer = await fetch(url, { ...sent, headers, redirect: "manual" });
    for (const set of answer.headers.getSetCookie()) {
      const [name, value] = set.split(";")[0].split(/=(.*)/s, 2);
      if (/max-age=0(;|$)/i.test(set)) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    return { status: answer.status, to: answer.headers.get("location"), html: await answer.text() };
  }
}

const unescaped = { "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&amp;": "&" };

export const title = (page) => page.html.match(/<h1>(.*)<\/h1>/)?.[1];

export function field(page, name) {
  const value = page.html.match(new RegExp(`name="${name}"[^>]* value="([^"]*)"`))?.[1];
  if (value === undefined) throw new Error(`no ${name} on: ${page.html}`);
  return value.replace(/&(lt|gt|quot|amp|#39);/g, (all) => unescaped[all]);
}

/** Adds a secret, and enters the PIN if the page requires it. Returns the title of the last page. */
export async function addOnPage(url, key, pin = "", browser = new Browser()) {
  let page = await browser.open(url);
  if (pin && title(page) === "Who are you?") page = await browser.open(url, { step: "prove", proof: pin });
  const ticket = field(page, "ticket");
  const typed = { step: "look", ticket, key, label: field(page, "label"), issuer: field(page, "issuer") };
  const entry = field(await browser.open(url, typed), "entry");
  return title(await browser.open(url, { step: "add", ticket, entry }));
}
