"""smolagents (`smolagents`, with `mcpadapt`): an agent that calls tools."""

import asyncio

from mcp import StdioServerParameters
from smolagents import LogLevel, MCPClient, OpenAIServerModel, ToolCallingAgent

from judge import MODEL, MODEL_URL, judge, run
from kit import COMMAND, SERVER_ENV


async def main():
    model = OpenAIServerModel(MODEL, api_base=f"{MODEL_URL}/v1", api_key="none")
    with MCPClient(StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], env=SERVER_ENV), structured_output=False) as tools:

        async def ask(prompt):
            agent = ToolCallingAgent(tools=tools, model=model, max_steps=3, verbosity_level=LogLevel.OFF)
            return str(await asyncio.to_thread(agent.run, prompt))

        await judge(ask)


run(main)
