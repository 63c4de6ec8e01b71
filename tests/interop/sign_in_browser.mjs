// A person signs in at an identity provider in a real browser to open the link of an enrolment, and adds the secret.

import { check, finish, SEAT, SEED } from "./kit.mjs";
import { Issuer, PUBLIC_SITE } from "./issuer.mjs";
import { operate, serve } from "./operator.mjs";
import { openBrowser, press, title } from "./page_kit.mjs";
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
check("asked who they are", (await title(page)) === "Who are you?");
await Promise.all([page.waitForNavigation(), page.getByRole("link", { name: "Sign in" }).click()]);
check("sent to the provider", page.url().startsWith(issuer.url), page.url());
await page.locator("[name=login]").fill("idp|ann");
await page.locator("[name=password]").fill("any");
for (const _ of ["log in", "agree"]) {
  await Promise.all([page.waitForNavigation(), page.locator("button[type=submit]").click()]);
}
const lands = page.url() === link && (await title(page)) === "Add a secret";
check("lands on the page, without the code in its address", lands, page.url());
await page.reload();
check("stays there when it is loaded again", (await title(page)) === "Add a secret");
const other = await (await browser.newContext()).newPage();
await other.goto(answers[0]);
check("another browser gets nowhere with the same answer", (await title(other)) === "Open the link again");
await page.getByLabel("Key or link").fill(SEED);
await page.getByLabel("Account").fill("ada");
check("reviews the secret", (await press(page, "Continue")) === "Is this right?");
check("adds the secret", (await press(page, "Add")) === "Added");

await browser.close();
server.kill();
for (const each of [front, issuer]) each.close();
finish();
