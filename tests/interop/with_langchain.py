"""LangChain (`langchain-mcp-adapters`), with OpenAI's strict mode and with Gemini (`langchain-google-genai`)."""

from langchain_core.messages import HumanMessage
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_mcp_adapters.sessions import create_session
from langchain_mcp_adapters.tools import load_mcp_tools
from langchain_openai import ChatOpenAI

from judge import API, MODEL, MODEL_URL, judge, run
from kit import COMMAND, SERVER_ENV


def bound(tools):
    if API == "openai":
        model = ChatOpenAI(model=MODEL, base_url=f"{MODEL_URL}/v1", api_key="none", max_retries=0)
        return model.bind_tools(tools, strict=True)
    return ChatGoogleGenerativeAI(model=MODEL, base_url=MODEL_URL, api_key="none", max_retries=0).bind_tools(tools)


async def main():
    server = {"transport": "stdio", "command": COMMAND[0], "args": COMMAND[1:], "env": SERVER_ENV}
    async with create_session(server) as session:
        await session.initialize()
        tools = await load_mcp_tools(session)
        named = {tool.name: tool for tool in tools}

        async def ask(prompt):
            model, messages = bound(tools), [HumanMessage(prompt)]
            while True:
                said = await model.ainvoke(messages)
                if not said.tool_calls:
                    return said.text
                messages += [said, *[await named[call["name"]].ainvoke(call) for call in said.tool_calls]]

        await judge(ask)


run(main)
