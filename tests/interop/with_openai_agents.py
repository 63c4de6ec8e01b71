"""OpenAI's Agents SDK (`openai-agents`), which converts MCP tools to strict ones; over responses and chat completions."""

from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, set_tracing_disabled
from agents.mcp import MCPServerStdio
from openai import AsyncOpenAI

from judge import API, MODEL, MODEL_URL, judge, run
from kit import COMMAND, SERVER_ENV

MODELS = {"chat": OpenAIChatCompletionsModel, "responses": OpenAIResponsesModel}


async def main():
    set_tracing_disabled(True)
    client = AsyncOpenAI(base_url=f"{MODEL_URL}/v1", api_key="none", max_retries=0)
    model = MODELS[API](MODEL, client)
    async with MCPServerStdio({"command": COMMAND[0], "args": COMMAND[1:], "env": SERVER_ENV}) as server:
        agent = Agent("agent", model=model, mcp_servers=[server], mcp_config={"convert_schemas_to_strict": True})

        async def ask(prompt):
            return (await Runner.run(agent, prompt)).final_output

        await judge(ask)


run(main)
