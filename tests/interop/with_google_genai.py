"""Google's SDK (`google-genai`): the session itself is the tool, and the SDK calls it."""

from google import genai
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from judge import MODEL, MODEL_URL, judge, run
from kit import COMMAND, SERVER_ENV


async def main():
    client = genai.Client(api_key="none", http_options={"base_url": MODEL_URL})
    server = StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], env=SERVER_ENV)
    async with stdio_client(server) as streams, ClientSession(*streams) as session:
        await session.initialize()

        async def ask(prompt):
            answer = await client.aio.models.generate_content(model=MODEL, contents=prompt, config={"tools": [session]})
            return answer.text

        await judge(ask)


run(main)
