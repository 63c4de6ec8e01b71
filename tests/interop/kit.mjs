// The parts that all clients here share: checks, the target, and an oracle for codes that shares nothing with the
// product.

import { createHmac } from "node:crypto";
import { env, exit } from "node:process";

export const SEED = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
export const SEED_SHA256 = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZA";

// Set by the runner.
export const TRANSPORT = env.INTEROP_TRANSPORT ?? "stdio";
export const MODE = env.INTEROP_MODE ?? "legacy";
export const COMMAND = JSON.parse(env.INTEROP_COMMAND ?? "[]");
export const SERVER_ENV = JSON.parse(env.INTEROP_ENV ?? "{}");
export const URL_ = env.INTEROP_URL ?? "";
export const BASE_URL = env.INTEROP_BASE_URL ?? "";
export const KEY_ID = env.INTEROP_KEY_ID ?? "";
export const KEY_SECRET = env.INTEROP_KEY_SECRET ?? "";
export const TOKEN = env.INTEROP_TOKEN ?? "";
/** The PIN of the seat, for the page of an enrolment. */
export const PIN = env.INTEROP_PIN ?? "";
export const SEAT = JSON.parse(env.INTEROP_SEAT ?? "{}");

let failed = 0;

/** Prints one line for a check. The runner counts the lines. */
export function check(name, holds, detail = "") {
  if (!holds) failed += 1;
  console.log(holds ? `ok ${name}` : `not ok ${name}: ${JSON.stringify(detail)}`);
}

export function finish() {
  exit(failed === 0 ? 0 : 1);
}

function decode(base32) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...base32].map((letter) => alphabet.indexOf(letter).toString(2).padStart(5, "0")).join("");
  return Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
}

export function codeAt(seed, step, digits = 6, algorithm = "sha1") {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const digest = createHmac(algorithm, decode(seed)).update(counter).digest();
  const number = digest.readUInt32BE(digest.at(-1) & 15) & 0x7fffffff;
  return String(number % 10 ** digits).padStart(digits, "0");
}

export const now = () => Math.floor(Date.now() / 1000);

/** Whether a code is that of a step between `since` and now. */
export function isCode(code, seed, since, period = 30, digits = 6, algorithm = "sha1") {
  for (let step = Math.floor(since / period); step <= Math.floor(now() / period); step += 1) {
    if (codeAt(seed, step, digits, algorithm) === code) return true;
  }
  return false;
}
