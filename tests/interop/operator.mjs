// The operator of a server, who starts it and sets it up at the command line.

import { execFile, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { COMMAND, SERVER_ENV } from "./kit.mjs";

const env = { ...process.env, ...SERVER_ENV };

/** Runs the program as the operator; returns its JSON output. */
export async function operate(...words) {
  return JSON.parse((await promisify(execFile)(COMMAND[0], [...words, "--json"], { env })).stdout);
}

/** Starts a server. Its log is in `said`. */
export async function serve(...flags) {
  return start(env, ...flags);
}

/** Starts a server in an environment. */
export async function start(env, ...flags) {
  const server = spawn(COMMAND[0], ["serve", "--listen", "127.0.0.1:0", "--auth-failures", "off", ...flags], {
    env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  // The server must not outlive the checks, however they end.
  process.on("exit", () => server.kill());
  const said = [];
  server.stderr.on("data", (bytes) => said.push(bytes));
  for await (const line of createInterface({ input: server.stderr })) {
    const address = line.match(/listening on (\S+)/)?.[1];
    if (!address) continue;
    // The runner judges its later log.
    server.stderr.pipe(process.stderr);
    return { server, address, said };
  }
  throw new Error("the server did not start");
}
