"""The Python SDK (`mcp`)."""

import asyncio
import json
from contextlib import asynccontextmanager

import httpx2
from mcp import Client, ClientSession
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from kit import COMMAND, MODE, SERVER_ENV, TOKEN, TOOLS, TRANSPORT, URL, check, finish
from story import story

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@asynccontextmanager
async def connected():
    if TRANSPORT == "stdio":
        async with Client(StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], env=SERVER_ENV), mode=MODE) as client:
            yield client
    elif TRANSPORT == "http":
        async with httpx2.AsyncClient(headers=HEADERS, timeout=60) as http:
            async with Client(streamable_http_client(URL, http_client=http), mode=MODE) as client:
                yield client
    else:
        async with sse_client(URL, headers=HEADERS) as streams, ClientSession(*streams) as client:
            await client.initialize()
            yield client


async def main():
    async with connected() as client:
        tools = (await client.list_tools()).tools
        check("tools: all eight", [tool.name for tool in tools] == TOOLS, tools)
        check("tools: described", all(tool.title and tool.description and tool.output_schema for tool in tools))
        read_only = sorted(tool.name for tool in tools if tool.annotations.read_only_hint)
        check("tools: annotated", read_only == ["get_seat", "get_seat_count", "list_seats", "list_totp_secrets"], read_only)

        async def call(tool, arguments):
            result = await client.call_tool(tool, arguments)
            if result.is_error:
                return None, json.loads(result.content[0].text)
            if json.loads(result.content[0].text) != result.structured_content:
                raise RuntimeError("the text is not the structured result")
            return result.structured_content, None

        await story(call)


asyncio.run(main())
finish()
