#!/usr/bin/env node
// Runs the program of the package for this platform, with this process's arguments, environment and standard streams.
"use strict";

const { spawn } = require("node:child_process");
const { constants } = require("node:os");

const name = `countersign-${process.platform}-${process.arch}`;
const program = process.platform === "win32" ? "countersign.exe" : "countersign";

let path;
try {
  path = require.resolve(`${name}/${program}`);
} catch {
  console.error(
    `countersign: the package ${name} is not here. Either there is none for this platform, or packages were installed ` +
      "without optional dependencies: install again without --omit=optional."
  );
  process.exit(1);
}

const child = spawn(path, process.argv.slice(2), { stdio: "inherit" });
// A host signals the process that it started, which is this one.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => child.kill(signal));
}
child.on("error", (cause) => {
  console.error(`countersign: ${path} can't be started: ${cause.message}`);
  process.exit(1);
});
child.on("exit", (code, signal) => process.exit(signal ? 128 + (constants.signals[signal] ?? 0) : code));
