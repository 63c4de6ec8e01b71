// An enrolment by an agent and its person, with a client that shows links and with one that does not.

import { setTimeout as sleep } from "node:timers/promises";
import { check, isCode, MODE, now, PIN, SEAT, SEED, TRANSPORT } from "./kit.mjs";
import { addOnPage } from "./page.mjs";

/** Milliseconds: longer than any notification takes. */
const SOON = 10_000;
const ASKED = { label: "By a person", issuer: "Example", ...(TRANSPORT !== "stdio" && { seat_id: SEAT.seat_id }) };

/**
 * `connect(show, told)` returns a client of any SDK, which answers links by `show(params)` and calls
 * `told(elicitationId)` for each that has ended. Without `show` it declares that it can't show any.
 */
export async function enrol(connect) {
  const tool = (client, name, args) => client.callTool({ name, arguments: args });
  const enroll = async (client, args) => (await tool(client, "enroll_totp_secret", args)).structuredContent;
  async function codes(what, client, secret) {
    const since = now();
    const { code } = (await tool(client, "get_totp_code", { secret_id: secret.id })).structuredContent;
    check(`enrol: the codes of what was added ${what}`, isCode(code, SEED, since), code);
  }

  const [shown, ended] = [[], []];
  const show = async (params) => {
    const page = addOnPage(params.url, SEED, PIN);
    shown.push({ ...params, page });
    // The person is done before the client says that they agreed: the call may end before that.
    await page;
    return { action: "accept" };
  };
  let client = await connect(show, (id) => ended.push(id));
  const told = await enroll(client, ASKED);
  const [link] = shown;
  const added = (await link?.page) === "Added";
  check("enrol: by a link that the client shows, in one call", told?.status === "OK" && added, [told, shown]);
  check("enrol: the client shows a link and two words", link.mode === "url" && link.message.includes("shows the words"), link);
  check("enrol: without the seed", !JSON.stringify([told, shown]).includes(SEED) && !("secret" in told.totp_secret));
  await codes("by a link", client, told.totp_secret);
  if (link.elicitationId) {
    const deadline = Date.now() + SOON;
    while (ended.length === 0 && Date.now() < deadline) await sleep(20);
    check("enrol: the client is told the end", ended.length === 1 && ended[0] === link.elicitationId, [ended, link]);
  } else {
    check("enrol: only the newest revision has no elicitation ids", MODE !== "legacy", MODE);
  }
  await client.close();

  for (const [action, status] of [["decline", "DECLINED"], ["cancel", "CANCELLED"]]) {
    client = await connect(async () => ({ action }), () => {});
    const refused = await enroll(client, ASKED);
    check(`enrol: ${action} in the client`, refused?.status === status, refused);
    await client.close();
  }

  client = await connect();
  const pending = await enroll(client, ASKED);
  check("enrol: a link for the model", pending?.status === "PENDING" && pending.words.includes("-"), pending);
  const [outcome, page] = await Promise.all([
    enroll(client, { enrollment_id: pending.enrollment_id }),
    addOnPage(pending.enrollment_url, SEED, PIN),
  ]);
  check("enrol: the waiting call learns it", page === "Added" && outcome?.status === "OK", [page, outcome]);
  check("enrol: the model never sees the seed", !JSON.stringify([pending, outcome]).includes(SEED));
  await codes("by a link for the model", client, outcome.totp_secret);
  await client.close();
}
