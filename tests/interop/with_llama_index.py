"""LlamaIndex (`llama-index-tools-mcp`): an agent that calls functions.

Its strict mode is not usable for tools with optional properties: it declares them, and OpenAI refuses that."""

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.openai import OpenAI
from llama_index.tools.mcp import BasicMCPClient, McpToolSpec

from judge import MODEL_URL, judge, run
from kit import COMMAND, SERVER_ENV

# LlamaIndex looks up the abilities of a model in a list of its own.
MODEL = "gpt-4o"


async def main():
    llm = OpenAI(model=MODEL, api_base=f"{MODEL_URL}/v1", api_key="none", max_retries=0)
    client = BasicMCPClient(COMMAND[0], args=COMMAND[1:], env=SERVER_ENV)
    tools = await McpToolSpec(client).to_tool_list_async()

    async def ask(prompt):
        agent = FunctionAgent(tools=tools, llm=llm, streaming=False)
        return str(await agent.run(prompt))

    await judge(ask)


run(main)
