// A person signs in at an identity provider in a real browser to open the link of an enrolment, and adds the secret.

import { check, finish, SEAT, SEED } from "./kit.mjs";
import { Issuer, PUBLIC_SITE } from "./issuer.mjs";
import { operate, serve } from "./operator.mjs";
import { look, openBrowser, press, title } from "./page_kit.mjs";
import { listen } from "./proxy.mjs";

const front = await listen();
const issuer = await Issuer.start(`${front.url}/enroll/callback`);
const provider = ["--oauth-issuer", issuer.url, "--oauth-audience", `${front.url}/mcp`, "--oauth-client-id", PUBLIC_SITE];
const { server, address } = await serve("--public-url", front.url, ...provider);
front.target = address;
const { token } = await operate("key", "create", "--name", "page", "--seat", SEAT.seat_id, "--scope", "secrets:write");
const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
const enrolments = `${front.url}/api/v2/totp/enrollments`;
const { enrollment_url: link } = await (await fetch(enrolments, { method: "POST", headers, body: "{}" })).json();

const browser = await openBrowser();
const page = await browser.newPage();
const answers = [];
page.on("request", (request) => request.url().includes("/enroll/callback") && answers.push(request.url()));
await page.goto(link);
await look(page, "sign in", "Who are you?");

/** Signs in on the provider's page and comes back. */
async function signIn(button, login) {
  await Promise.all([page.waitForNavigation(), page.getByRole("link", { name: button, exact: true }).click()]);
  check("sent to the provider", page.url().startsWith(issuer.url), page.url());
  await page.locator("[name=login]").fill(login);
  await page.locator("[name=password]").fill("any");
  for (const _ of ["log in", "agree"]) {
    await Promise.all([page.waitForNavigation(), page.locator("button[type=submit]").click()]);
  }
}
await signIn("Sign in", "idp|eve");
await look(page, "for somebody else, signed in", "For somebody else");
await page.goto(`${link}?sign-in`);
check("the provider remembers who signed in", (await page.locator("[name=login]").count()) === 0, page.url());
await Promise.all([page.waitForNavigation(), page.locator("button[type=submit]").click()]);
await signIn("Sign in as somebody else", "idp|ann");
const lands = page.url() === link && (await title(page)) === "Add a secret";
check("lands on the page, without the code in its address", lands, page.url());
await page.reload();
check("stays there when it is loaded again", (await title(page)) === "Add a secret");
const other = await (await browser.newContext()).newPage();
await other.goto(answers[0]);
await look(other, "another browser with the same answer", "Open the link again");
await other.goto(link);
await Promise.all([other.waitForNavigation(), other.getByRole("link", { name: "Sign in" }).click()]);
await Promise.all([other.waitForNavigation(), other.getByRole("link", { name: /cancel/i }).click()]);
await look(other, "not signed in", "Not signed in");
await page.getByLabel("Key or link").fill(SEED);
await page.getByLabel("Account").fill("ada");
check("reviews the secret", (await press(page, "Continue")) === "Is this right?");
check("adds the secret", (await press(page, "Add")) === "Added");

await browser.close();
server.kill();
for (const each of [front, issuer]) each.close();
finish();
