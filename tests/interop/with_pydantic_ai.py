"""Pydantic AI (`pydantic-ai-slim`), with OpenAI in strict mode and with Gemini."""

from dataclasses import replace

from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.openai import OpenAIProvider

from judge import API, MODEL, MODEL_URL, judge, run
from kit import COMMAND, SERVER_ENV


def model():
    if API == "openai":
        return OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=f"{MODEL_URL}/v1", api_key="none"))
    return GoogleModel(MODEL, provider=GoogleProvider(base_url=MODEL_URL, api_key="none"))


async def strict(_, tools):
    return [replace(tool, strict=True) for tool in tools]


async def main():
    server = StdioTransport(COMMAND[0], COMMAND[1:], env=SERVER_ENV)
    # A tool's error goes back to the model at once.
    tools = MCPToolset(server, tool_error_behavior="failed")
    agent = Agent(model(), toolsets=[tools.prepared(strict) if API == "openai" else tools])
    async with agent:

        async def ask(prompt):
            return (await agent.run(prompt)).output

        await judge(ask)


run(main)
