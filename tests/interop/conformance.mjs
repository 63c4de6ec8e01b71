// The protocol's own conformance suite (`@modelcontextprotocol/conformance`), with everything that it has for a revision,
// the optional parts included. Only a server made for the suite can pass the checks of its own fixtures (tools of
// certain names, prompts, resources): those are in `conformance.json`, each with a reason. All others must pass, and
// those must not, or the list is out of date.

import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execPath } from "node:process";
import { BASE_URL, check, finish, MODE, TOKEN } from "./kit.mjs";
import { listen } from "./proxy.mjs";

const SUITE = join(import.meta.dirname, "node_modules/@modelcontextprotocol/conformance/dist/index.js");
const EXCUSED = JSON.parse(readFileSync(join(import.meta.dirname, "conformance.json"), "utf8"));

/** The suite's output. Its exit status is ignored: it counts the excused checks as well. */
function suite(...words) {
  const options = { timeout: 240_000, maxBuffer: 64 * 1024 * 1024 };
  return new Promise((resolve) => {
    execFile(execPath, [SUITE, ...words], options, (_error, out, err) => resolve(`${out}\n${err}`));
  });
}

/** The worst result of each check, as the suite repeats some of them. Results for information do not count. */
function verdicts(file) {
  const worst = new Map();
  for (const { id, status, errorMessage } of JSON.parse(readFileSync(file, "utf8"))) {
    if (status === "INFO" || (worst.has(id) && status === "SUCCESS")) continue;
    worst.set(id, { passed: status === "SUCCESS", detail: `${status}: ${errorMessage ?? ""}` });
  }
  return worst;
}

function judge(scenario, checks) {
  const excused = EXCUSED[scenario] ?? {};
  for (const [id, { passed, detail }] of checks) {
    if (!(id in excused)) check(`${scenario}: ${id}`, passed, detail);
    else if (passed) check(`${scenario}: ${id} still has to be excused`, false, excused[id]);
    else console.log(`-- ${scenario}: ${id}: ${excused[id]}`);
  }
  for (const id of Object.keys(excused)) {
    if (!checks.has(id)) check(`${scenario}: ${id} is still asked`, false, excused[id]);
  }
}

const proxy = await listen({ target: BASE_URL, added: { Authorization: `Bearer ${TOKEN}` } });
const results = mkdtempSync(join(tmpdir(), "conformance-"));
const said = await suite("server", "--url", `${proxy.url}/mcp`, "--requirements", MODE, "--output-dir", results);
proxy.close();

const promised = Number(said.match(/^Running requirements \S+ \((\d+) scenarios\)/m)?.[1] ?? 0);
const ran = [...said.matchAll(/^=== Running scenario: (\S+) ===$/gm)].map((match) => match[1]);
const folders = readdirSync(results);
const found = new Map();
for (const scenario of ran) {
  const folder = folders.find((name) => name.replace(/-\d{4}-\d\d-\d\dT[-\dZ]+$/, "") === `server-${scenario}`);
  const file = join(results, folder ?? "", "checks.json");
  found.set(scenario, folder && existsSync(file) ? verdicts(file) : new Map());
}
check("the suite ran all its scenarios", promised > 0 && ran.length === promised, said.slice(-2000));
const broken = ran.filter((scenario) => found.get(scenario).size === 0);
check("each of them came to a verdict", broken.length === 0, broken);
found.forEach((checks, scenario) => judge(scenario, checks));
rmSync(results, { recursive: true });

const known = new Set([...(await suite("list", "--server")).matchAll(/^ {2}- (\S+) /gm)].map((match) => match[1]));
const gone = Object.keys(EXCUSED).filter((scenario) => !known.has(scenario));
check("no excuse is for a scenario that is gone", gone.length === 0, gone);
finish();
