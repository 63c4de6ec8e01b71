// Vercel's AI SDK (`ai`), with its providers of OpenAI (responses) and of Gemini, and the tools of its MCP client.

import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createMCPClient } from "@ai-sdk/mcp";
import { StdioMCPTransport } from "@ai-sdk/mcp/mcp-stdio";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, stepCountIs } from "ai";
import { env } from "node:process";
import { check, COMMAND, finish, MODE, SERVER_ENV } from "./kit.mjs";
import { story, TOOLS } from "./story.mjs";

const [api, manner] = MODE.split(" ");
const url = env.INTEROP_MODEL_URL;
const model =
  api === "openai"
    ? createOpenAI({ baseURL: `${url}/v1`, apiKey: "none" })("stand-in")
    : createGoogleGenerativeAI({ baseURL: `${url}/v1beta`, apiKey: "none" })("stand-in");

const client = await createMCPClient({
  transport: new StdioMCPTransport({ command: COMMAND[0], args: COMMAND.slice(1), env: SERVER_ENV }),
});
const tools = await client.tools();

async function ask(tool, args) {
  const prompt = JSON.stringify({ tool, arguments: args, manner });
  return (await generateText({ model, tools, prompt, maxRetries: 0, stopWhen: stepCountIs(3) })).text;
}

async function callTool({ name, arguments: args }) {
  const text = await ask(name, args);
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new Error(`${name}: the model was told ${text}`);
  }
  return { isError: "error" in answer, content: [{ type: "text", text }], structuredContent: answer };
}

try {
  const shown = JSON.parse(await ask(null, {}));
  check("model: shown all nine tools", String(shown.map((tool) => tool.name).sort()) === String([...TOOLS].sort()), shown);
  check("model: every tool has its words", shown.every((tool) => tool.description));
  const silent = shown.filter((tool) => Object.values(tool.parameters?.properties ?? {}).some((each) => !each.description));
  check("model: every property has its words", silent.length === 0, silent);
  await story({ callTool });
} catch (error) {
  check("the story ends", false, String(error));
}
await client.close();
finish();
