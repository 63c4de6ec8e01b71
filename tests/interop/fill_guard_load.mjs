// Many logins at once through the guard, each with a decoy, to a site that takes each step of an account once; and what a
// connection that is only carried costs when the vault has many secrets. FILL=full: ten thousand of each.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { connect as secured } from "node:tls";
import { check, codeAt, COMMAND, finish, now, SERVER_ENV } from "./kit.mjs";
import { Site } from "./fill_site.mjs";
import { Agent, operate } from "./page_kit.mjs";

const FULL = process.env.FILL === "full";
const LOGINS = Number(process.env.GUARD_LOGINS ?? (FULL ? 10_000 : 80));
const OTHERS = Number(process.env.GUARD_SECRETS ?? (FULL ? 10_000 : 300));
const CLIENTS = 40;
/** Seconds of a step, in which each account can log in once. */
const PERIOD = Number(process.env.GUARD_PERIOD ?? 5);
/** A millisecond on an idle machine; elsewhere other programs run as well. */
const MILLISECONDS_MAX = FULL ? 1 : 5;

const folder = mkdtempSync(join(tmpdir(), "guard-"));
const site = await Site.start();
const agent = await Agent.start();

async function ask(name, given) {
  const result = await agent.client.callTool({ name, arguments: given });
  if (result.isError) throw new Error(result.content[0].text);
  return result.structuredContent;
}

/** An account whose codes are short-lived; it takes each step once, and returns the code that it was sent. */
class Account {
  used = new Set();

  constructor(name, digits) {
    Object.assign(this, { name, digits, path: `/${name}` });
    const { seed } = site.account(name);
    this.seed = seed;
    site.show(this.path, (asked, response) => {
      const answer = (chunks) => {
        const { code } = JSON.parse(Buffer.concat(chunks));
        // The code once more, in a form that the guard does not recognise.
        const got = code.split("").join(" ");
        site.send(response, JSON.stringify({ why: this.wrong(code), code, got }), "application/json");
      };
      // The guard ends a request for whose decoy there is no code.
      void asked.toArray().then(answer, () => response.destroy());
    });
  }

  wrong(code) {
    const steps = [-1, 0, 1].map((by) => Math.floor(now() / PERIOD) + by);
    const step = steps.find((each) => codeAt(this.seed, each, this.digits) === code);
    if (step === undefined) return "wrong";
    if (this.used.has(step)) return "used";
    this.used.add(step);
    return null;
  }

  async register() {
    const origins = [`https://localhost:${site.secure}`];
    const given = { label: this.name, secret: this.seed, digits: this.digits, period: PERIOD, origins };
    this.id = (await ask("register_totp_secret", given)).totp_secret.id;
  }
}

/** Calls `each` `count` times, as many at once as there are workers. */
async function together(workers, count, each) {
  let next = 0;
  const work = async (worker) => {
    while (next < count) await each(worker, next++);
  };
  await Promise.all(Array.from({ length: workers }, (_, worker) => work(worker)));
}

await together(16, OTHERS, (_, nth) =>
  ask("register_totp_secret", { label: `other ${nth}`, origins: [`https://localhost:${20_000 + nth}`] }),
);
const accounts = Array.from({ length: CLIENTS }, (_, nth) => new Account(`client${nth}`, nth % 2 ? 8 : 6));
await Promise.all(accounts.map((account) => account.register()));

const roots = join(folder, "site.pem");
writeFileSync(roots, site.certificate);
const { certificate: ca } = await operate("guard", "ca");
const guard = spawn(COMMAND[0], ["guard", "--listen", "127.0.0.1:0", "--ca", roots], {
  env: { ...process.env, ...SERVER_ENV },
  stdio: ["ignore", "ignore", "pipe"],
});
process.on("exit", () => guard.kill());
const [line] = await once(createInterface({ input: guard.stderr }), "line");
const proxy = Number(line.match(/guarding on \S+:(\d+)/)[1]);

/** A connection to a port of this machine, which the guard carries. */
async function tunnel(host, port) {
  const asked = request({ host: "127.0.0.1", port: proxy, method: "CONNECT", path: `${host}:${port}` });
  asked.end();
  const [answer, socket] = await once(asked, "connect");
  if (answer.statusCode !== 200) throw new Error(`CONNECT: ${answer.statusCode}`);
  return socket;
}

async function post(path, body) {
  const socket = secured({ socket: await tunnel("localhost", site.secure), servername: "localhost", ca });
  await once(socket, "secureConnect");
  const asked = request({ createConnection: () => socket, method: "POST", path, headers: { host: "localhost" } });
  asked.end(JSON.stringify(body));
  const [answer] = await once(asked, "response");
  const text = Buffer.concat(await answer.toArray()).toString();
  socket.destroy();
  if (answer.statusCode !== 200) throw new Error(`${answer.statusCode}: ${text.trim()}`);
  return JSON.parse(text);
}

/** The median of what one request to a port of this machine takes, in milliseconds. */
async function cost(open) {
  const times = [];
  for (let nth = 0; nth < 100; nth += 1) {
    const begun = performance.now();
    const socket = await open();
    socket.write("GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await once(socket, "data");
    times.push(performance.now() - begun);
    socket.destroy();
  }
  return times.sort((one, other) => one - other)[times.length / 2];
}

const direct = async () => {
  const socket = connect(site.http, "127.0.0.1");
  await once(socket, "connect");
  return socket;
};
await cost(direct);
// The best of a few rounds: other programs use the machine as well.
const rounds = [];
for (let nth = 0; nth < 5; nth += 1) rounds.push([await cost(direct), await cost(() => tunnel("127.0.0.1", site.http))]);
const [without, carried] = rounds.sort(([a, b], [c, d]) => b - a - (d - c))[0];
const added = carried - without;
console.log(`figure: carried: ${without.toFixed(2)} ms without the guard, ${carried.toFixed(2)} ms with it, ${OTHERS} secrets`);
check("a connection that is only carried costs little", added <= MILLISECONDS_MAX, rounds);

const problems = [];
const given = new Set();
const begun = performance.now();
await together(CLIENTS, LOGINS, async (worker) => {
  const { id, path } = accounts[worker];
  try {
    const { code: decoy } = await ask("get_totp_code", { secret_id: id, decoy: true });
    given.add(decoy);
    const { why, code, got } = await post(path, { code: decoy });
    const sent = got.replaceAll(" ", "");
    // Two accounts may have equal codes; then a code is masked by the other one's decoy.
    const isMasked = given.has(code) && code !== sent;
    if (why) problems.push(`${why}: the site got ${sent === decoy ? "the decoy" : "a code"}`);
    else if (!isMasked) problems.push(`it came back: ${code === sent ? "the code" : "something else"}`);
  } catch (error) {
    problems.push(error.message);
  }
});
const seconds = (performance.now() - begun) / 1000;
console.log(`figure: ${LOGINS} logins by ${CLIENTS} clients in ${seconds.toFixed(0)} s, periods of ${PERIOD} s: ${problems.length} wrong`);
check("every login holds, and no code comes back", problems.length === 0, problems.slice(0, 20));

await agent.client.close();
guard.kill("SIGINT");
await once(guard, "exit");
site.end();
rmSync(folder, { recursive: true });
finish();
