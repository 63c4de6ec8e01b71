"""The Python SDK (`mcp`)."""

import asyncio
import json
import time
from contextlib import asynccontextmanager

import httpx2
from mcp import Client, ClientSession
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult

from kit import COMMAND, MODE, PIN, SEAT, SEED, SERVER_ENV, TOKEN, TOOLS, TRANSPORT, URL, check, finish, is_code
from page import add_on_page
from story import story

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@asynccontextmanager
async def connected(show=None, told=None):
    """A client; with `show`, it declares that it shows links. `told` gets every notification."""
    if TRANSPORT == "sse":
        async with sse_client(URL, headers=HEADERS) as streams:
            async with ClientSession(*streams, elicitation_callback=show, message_handler=told) as client:
                await client.initialize()
                yield client
        return
    callbacks = {"elicitation_callback": show, "message_handler": told}
    if TRANSPORT == "stdio":
        server = StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], env=SERVER_ENV)
        async with Client(server, mode=MODE, **callbacks) as client:
            yield client
    else:
        async with httpx2.AsyncClient(headers=HEADERS, timeout=60) as http:
            async with Client(streamable_http_client(URL, http_client=http), mode=MODE, **callbacks) as client:
                yield client


async def main():
    async with connected() as client:
        tools = (await client.list_tools()).tools
        check("tools: all nine", [tool.name for tool in tools] == TOOLS, tools)
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
    await enrol()


async def enrol():
    """A person adds a secret on a page: by a client that shows links, and by one whose model hands the link on."""
    titles, shown, ended = [], [], asyncio.Queue()

    async def show(_context, params):
        shown.append(params)
        titles.append(await asyncio.to_thread(add_on_page, params.url, SEED, PIN))
        return ElicitResult(action="accept")

    async def refuse(_context, _params):
        return ElicitResult(action="decline")

    async def told_of(message):
        if getattr(message, "method", "") == "notifications/elicitation/complete":
            ended.put_nowait(message.params.elicitation_id)

    asked = {"label": "By a person", "issuer": "Example"}
    if TRANSPORT != "stdio":
        asked["seat_id"] = SEAT["seat_id"]
    async with connected(show, told_of) as client:
        answer = await client.call_tool("enroll_totp_secret", asked)
        told, link = answer.structured_content, shown[0]
        check("enrol: by a link that the client shows", told["status"] == "OK", told)
        check("enrol: the client shows a link and two words", link.mode == "url" and "shows the words" in link.message, link)
        check("enrol: without the seed", SEED not in answer.model_dump_json() and "secret" not in told["totp_secret"])
        since = time.time()
        code = (await client.call_tool("get_totp_code", {"secret_id": told["totp_secret"]["id"]})).structured_content
        check("enrol: its codes", is_code(code["code"], SEED, since))
        if link.elicitation_id:
            told = await asyncio.wait_for(ended.get(), 10)
            check("enrol: the client is told the end", told == link.elicitation_id, told)
        else:
            check("enrol: only the newest revision has no elicitation ids", MODE != "legacy", MODE)
    check("enrol: the person ended on the last page", titles == ["Added"], titles)
    async with connected(refuse) as client:
        told = (await client.call_tool("enroll_totp_secret", asked)).structured_content
        check("enrol: declined in the client", told["status"] == "DECLINED", told)
    async with connected() as client:
        told = (await client.call_tool("enroll_totp_secret", asked)).structured_content
        check("enrol: a link for the model", told["status"] == "PENDING" and "words" in told, told)
        title = await asyncio.to_thread(add_on_page, told["enrollment_url"], SEED, PIN)
        told = (await client.call_tool("enroll_totp_secret", {"enrollment_id": told["enrollment_id"]})).structured_content
        check("enrol: learned later", title == "Added" and told["status"] == "OK", told)
        since = time.time()
        code = (await client.call_tool("get_totp_code", {"secret_id": told["totp_secret"]["id"]})).structured_content
        check("enrol: its codes, too", is_code(code["code"], SEED, since))


asyncio.run(main())
finish()
