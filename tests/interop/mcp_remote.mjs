// mcp-remote (`mcp-remote`): the program by which hosts that only start programs reach a server.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { env, execPath } from "node:process";
import { fileURLToPath } from "node:url";
import { check, finish, TOKEN, TRANSPORT, URL_ } from "./kit.mjs";
import { catalogue, story } from "./story.mjs";

const program = fileURLToPath(new URL("node_modules/mcp-remote/dist/proxy.js", import.meta.url));
const settings = ["--transport", `${TRANSPORT}-only`, "--header", `Authorization: Bearer ${TOKEN}`];

const client = new Client({ name: "interop", version: "1.0.0" });
const args = [program, URL_, ...settings];
await client.connect(new StdioClientTransport({ command: execPath, args, env: { HOME: env.HOME }, stderr: "ignore" }));
check("server: says who it is", client.getServerVersion()?.name === "countersign", client.getServerVersion());
await catalogue(client);
await story(client);
await client.close();
finish();
