"""mcp-use (`mcp-use`): its agent over LangChain's OpenAI model."""

from langchain_openai import ChatOpenAI
from mcp_use import MCPAgent, MCPClient

from judge import MODEL, MODEL_URL, judge, run
from kit import COMMAND, SERVER_ENV


async def main():
    model = ChatOpenAI(model=MODEL, base_url=f"{MODEL_URL}/v1", api_key="none", max_retries=0)
    server = {"command": COMMAND[0], "args": COMMAND[1:], "env": SERVER_ENV}
    client = MCPClient({"mcpServers": {"countersign": server}})
    agent = MCPAgent(model, client, memory_enabled=False, max_steps=10)

    async def ask(prompt):
        return await agent.run(prompt)

    await judge(ask)
    await client.close_all_sessions()


run(main)
