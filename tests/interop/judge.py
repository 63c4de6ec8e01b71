"""The checks that agent frameworks here share. A framework provides `ask(prompt)`, which returns its agent's last text.

Its model is `provider.py`: the framework converts the tools for it, carries out the calls that it requests, and passes
it the answers, all in the framework's own ways.
"""

import asyncio
import json
import os

from kit import MODE, TOOLS, check, finish
from story import story

# Set by the runner.
MODEL_URL = os.environ["INTEROP_MODEL_URL"]
API, MANNER = MODE.split()

# A name of a model about which no framework knows more.
MODEL = "stand-in"


def prompt(tool, arguments):
    return json.dumps({"tool": tool, "arguments": arguments, "manner": MANNER})


async def judge(ask):
    """Tries all tools, as a model would use them in a framework. An exception that the framework raises is a
    failure."""
    try:
        shown = json.loads(await ask(prompt(None, {})))
        # A framework may have tools of its own.
        shown = {tool["name"]: tool for tool in shown if tool["name"] in TOOLS}
        check("model: shown all nine tools", sorted(shown) == sorted(TOOLS), sorted(shown))
        silent = [name for name, tool in shown.items() if not tool["description"]]
        check("model: every tool has its words", not silent, silent)
        properties = {name: tool["parameters"].get("properties", {}) for name, tool in shown.items()}
        silent = [f"{name}.{each}" for name, all in properties.items() for each in all if not all[each].get("description")]
        check("model: every property has its words", not silent, silent)

        async def call(tool, arguments):
            said = await ask(prompt(tool, arguments))
            try:
                answer = json.loads(said)
            except json.JSONDecodeError:
                raise RuntimeError(f"{tool}: the model was told {said!r}") from None
            return (None, answer) if "error" in answer else (answer, None)

        await story(call)
    except Exception as error:
        check("the story ends", False, f"{type(error).__name__}: {error}")


def run(main):
    asyncio.run(main())
    finish()
