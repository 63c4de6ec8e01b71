"""Logins by browser-use (`browser-use`), whose model is a script: it sees what a model would see, and writes it down.

Started by fill_tools.mjs, which has the site and the browser.
"""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

from browser_use import Agent, Browser, Tools
from browser_use.llm.views import ChatInvokeCompletion

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "integrations" / "browser_use"))

from countersign_fill import add_fill_action  # noqa: E402

# Set by fill_tools.mjs.
CDP = os.environ["FILL_CDP"]
PROGRAM = os.environ["FILL_PROGRAM"]
# [user, id of the secret, whether to submit, origin of the site]
LOGINS = json.loads(os.environ["FILL_LOGINS"])

STEPS_MAX = 12


class Script:
    """Stands in for the model: does the next step of a login, by what the page shows."""

    _verified_api_keys = True
    model = model_name = name = provider = "script"

    def __init__(self, user, secret, site):
        self.user, self.secret, self.site, self.shown, self.is_open = user, secret, site, [], False

    async def ainvoke(self, messages, output_format=None, **_):
        said = [message.text for message in messages]
        # Adds what is new; the rest was shown before.
        self.shown += [text for text in said if text not in self.shown]
        page = next(text for text in reversed(said) if "<browser_state>" in text)
        thought = {"evaluation_previous_goal": "", "memory": "", "next_goal": "", "action": [self.next_step(page)]}
        self.shown.append(json.dumps(thought["action"]))
        return ChatInvokeCompletion(completion=output_format.model_validate(thought), usage=None)

    def next_step(self, page):
        index = {name: int(at) for at, name in re.findall(r"\[(\d+)\]<(input name=user|button)", page)}
        if not self.is_open:
            self.is_open = True
            return {"navigate": {"url": self.site, "new_tab": False}}
        if "name=otp" in page and self.secret:
            secret, self.secret = self.secret, None
            return {"fill_totp_code": {"secret": secret}}
        if "name=user" not in page:
            is_in = f"{self.user} is logged in" in page
            return {"done": {"text": "logged in" if is_in else "not logged in", "success": is_in, "files_to_display": []}}
        if f"value={self.user}" in page:
            return {"click": {"index": index["button"]}}
        return {"input": {"index": index["input name=user"], "text": self.user, "clear": True}}


async def main():
    browser = Browser(cdp_url=CDP, keep_alive=True)
    for user, secret, submit, site in LOGINS:
        tools, script = Tools(), Script(user, secret, site)
        add_fill_action(tools, program=PROGRAM, submit=submit)
        agent = Agent(
            task=f"Log in to {site} as {user}",
            llm=script,
            tools=tools,
            browser=browser,
            use_vision=False,
            use_judge=False,
            enable_planning=False,
            directly_open_url=False,
            calculate_cost=False,
        )
        history = await agent.run(max_steps=STEPS_MAX)
        kept = json.dumps(history.model_dump(), default=str)
        print(json.dumps({"user": user, "shown": script.shown, "kept": kept}), flush=True)
    await browser.kill()


asyncio.run(main())
