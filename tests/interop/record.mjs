// Records everything that passes: between a client and the program that it starts, and over a connection to a server.

import { spawn } from "node:child_process";
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { argv, env, execPath, exit, stdin, stdout } from "node:process";
import { fileURLToPath } from "node:url";

/** A folder of recordings. */
export class Record {
  folder = mkdtempSync(join(tmpdir(), "record-"));

  /** The bytes that were recorded under a name; empty if there are none. */
  read = (name) => (readdirSync(this.folder).includes(name) ? readFileSync(join(this.folder, name)) : Buffer.alloc(0));

  remove = () => rmSync(this.folder, { recursive: true });

  /** The command that runs a program and records its standard input, output and error. */
  command = (program) => ({ command: execPath, args: [fileURLToPath(import.meta.url), this.folder, ...program] });

  /** Listens in front of a server, and records `NAME in` and `NAME out`. */
  async before(name) {
    const wire = { target: "", close: () => server.close() };
    const server = createServer((client) => {
      const behind = connect(new URL(wire.target).port, "127.0.0.1");
      const pass = (from, to, way) => {
        from.on("data", (bytes) => appendFileSync(join(this.folder, `${name} ${way}`), bytes));
        from.on("error", () => to.destroy());
        from.pipe(to);
      };
      pass(client, behind, "in");
      pass(behind, client, "out");
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    wire.url = `http://127.0.0.1:${server.address().port}`;
    return wire;
  }
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  const [folder, program, ...words] = argv.slice(2);
  const child = spawn(program, words, { env });
  const pass = (from, to, name) => {
    from.on("data", (bytes) => appendFileSync(join(folder, name), bytes));
    from.pipe(to);
  };
  pass(stdin, child.stdin, "in");
  pass(child.stdout, stdout, "out");
  child.stderr.on("data", (bytes) => appendFileSync(join(folder, "log"), bytes));
  child.stdin.on("error", () => {});
  child.on("close", (code) => exit(code ?? 1));
}
