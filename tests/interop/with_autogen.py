"""AutoGen (`autogen-agentchat`, `autogen-ext`): an assistant with the tools of an MCP workbench's adapters."""

from autogen_agentchat.agents import AssistantAgent
from autogen_ext.models.openai import OpenAIChatCompletionClient
from autogen_ext.tools.mcp import StdioServerParams, create_mcp_server_session, mcp_server_tools

from judge import MODEL, MODEL_URL, judge, run
from kit import COMMAND, SERVER_ENV

ABILITIES = {"vision": False, "function_calling": True, "json_output": False, "family": "unknown", "structured_output": False}


async def main():
    settings = {"base_url": f"{MODEL_URL}/v1", "api_key": "none", "max_retries": 0}
    model = OpenAIChatCompletionClient(model=MODEL, model_info=ABILITIES, **settings)
    server = StdioServerParams(command=COMMAND[0], args=COMMAND[1:], env=SERVER_ENV)
    async with create_mcp_server_session(server) as session:
        await session.initialize()
        tools = await mcp_server_tools(server, session=session)

        async def ask(prompt):
            agent = AssistantAgent("agent", model, tools=tools, reflect_on_tool_use=True)
            return (await agent.run(task=prompt)).messages[-1].content

        await judge(ask)
    await model.close()


run(main)
