// The operator of a server, who starts it and sets it up at the command line.

import { execFile, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { COMMAND, SERVER_ENV } from "./kit.mjs";

const env = { ...process.env, ...SERVER_ENV };

/** The program, run by the operator. */
export async function operate(...words) {
  return JSON.parse((await promisify(execFile)(COMMAND[0], [...words, "--json"], { env })).stdout);
}

/** Starts a server. What it says is in `said`. */
export async function serve(...flags) {
  return start(env, ...flags);
}

/** The same in an environment. */
export async function start(env, ...flags) {
  const server = spawn(COMMAND[0], ["serve", "--listen", "127.0.0.1:0", "--auth-failures", "off", ...flags], {
    env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  // Whatever becomes of the checks, it does not outlive them.
  process.on("exit", () => server.kill());
  const said = [];
  server.stderr.on("data", (bytes) => said.push(bytes));
  for await (const line of createInterface({ input: server.stderr })) {
    const address = line.match(/listening on (\S+)/)?.[1];
    if (!address) continue;
    // What it says later is for the runner to judge.
    server.stderr.pipe(process.stderr);
    return { server, address, said };
  }
  throw new Error("the server did not start");
}
