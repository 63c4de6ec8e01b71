// The tokens that a model reads for the tools, in every conversation: their names, descriptions and arguments, as o200k
// counts.

import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { Tiktoken } from "js-tiktoken/lite";
import o200k from "js-tiktoken/ranks/o200k_base";
import { check, COMMAND, finish, SERVER_ENV } from "./kit.mjs";

/** The most tokens that a tool may have on average. */
const MOST = 190;
const counter = new Tiktoken(o200k);
const tokens = (text) => counter.encode(text).length;
check("the counter counts", tokens("hello world") === 2, tokens("hello world"));

for (const [name, flags, count] of [["plain", [], 9], ["with a browser", ["--browser", "9222"], 10]]) {
  const client = new Client({ name: "interop", version: "1.0.0" });
  const [command, ...args] = [...COMMAND, ...flags];
  await client.connect(new StdioClientTransport({ command, args, env: SERVER_ENV }));
  const { tools } = await client.listTools();
  const each = tools.map(({ name, description, inputSchema }) => tokens(JSON.stringify({ name, description, inputSchema })));
  const average = each.reduce((sum, one) => sum + one) / each.length;
  console.log(`figure: tokens of a tool, ${name}: ${average.toFixed(1)} on average, ${Math.max(...each)} at most`);
  check(`${name}: all tools`, tools.length === count, tools.length);
  check(`${name}: at most ${MOST} tokens a tool on average`, average <= MOST, average);
  await client.close();
}
finish();
