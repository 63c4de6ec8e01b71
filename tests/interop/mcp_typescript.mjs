// The TypeScript SDK, version 2 (`@modelcontextprotocol/client`).

import { Client, SSEClientTransport, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { check, COMMAND, finish, MODE, SERVER_ENV, TOKEN, TRANSPORT, URL_ } from "./kit.mjs";
import { enrol } from "./enrol.mjs";
import { catalogue, story } from "./story.mjs";

function transport() {
  const requestInit = { headers: { Authorization: `Bearer ${TOKEN}` } };
  if (TRANSPORT === "http") return new StreamableHTTPClientTransport(new URL(URL_), { requestInit });
  if (TRANSPORT === "sse") return new SSEClientTransport(new URL(URL_), { requestInit });
  return new StdioClientTransport({ command: COMMAND[0], args: COMMAND.slice(1), env: SERVER_ENV });
}

const mode = /^\d/.test(MODE) ? { pin: MODE } : MODE;

async function connect(show, told) {
  const capabilities = show ? { elicitation: { url: {} } } : {};
  const client = new Client({ name: "interop", version: "1.0.0" }, { capabilities, versionNegotiation: { mode } });
  if (show) client.setRequestHandler("elicitation/create", (request) => show(request.params));
  if (told) client.setNotificationHandler("notifications/elicitation/complete", ({ params }) => told(params.elicitationId));
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
