// The TypeScript SDK, version 1 (`@modelcontextprotocol/sdk`).

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ElicitationCompleteNotificationSchema, ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { check, COMMAND, finish, SERVER_ENV, TOKEN, TRANSPORT, URL_ } from "./kit.mjs";
import { enrol } from "./enrol.mjs";
import { catalogue, story } from "./story.mjs";

function transport() {
  const requestInit = { headers: { Authorization: `Bearer ${TOKEN}` } };
  if (TRANSPORT === "http") return new StreamableHTTPClientTransport(new URL(URL_), { requestInit });
  if (TRANSPORT === "sse") return new SSEClientTransport(new URL(URL_), { requestInit });
  return new StdioClientTransport({ command: COMMAND[0], args: COMMAND.slice(1), env: SERVER_ENV });
}

async function connect(show, told) {
  const capabilities = show ? { elicitation: { url: {} } } : {};
  const client = new Client({ name: "interop", version: "1.0.0" }, { capabilities });
  if (show) client.setRequestHandler(ElicitRequestSchema, (request) => show(request.params));
  if (told) client.setNotificationHandler(ElicitationCompleteNotificationSchema, ({ params }) => told(params.elicitationId));
  await client.connect(transport());
  return client;
}

const client = await connect();
check("server: says who it is", client.getServerVersion()?.name === "countersign", client.getServerVersion());
await catalogue(client);
await story(client);
await client.close();
await enrol(connect);
finish();
