"""An action for browser-use that fills the code of a two-factor login without showing it to the model.

    from browser_use import Agent, Browser, Tools
    from countersign_fill import add_fill_action

    tools = Tools()
    add_fill_action(tools)
    agent = Agent(task="Log in to GitHub as ada", tools=tools, browser=Browser(cdp_url="http://127.0.0.1:9222"))

The model calls `fill_totp_code(secret="github")` and learns whether the code was submitted, and to which origin. The code goes
from Countersign to the page: neither the model, nor this process, nor browser-use's history ever has it.
"""

import asyncio
import json
import os

from browser_use import ActionResult, BrowserSession
from pydantic import BaseModel, ConfigDict, Field

WORDS = (
    "Fill in the one-time code of a two-factor login and submit it. Use this as soon as the page asks for a code of an "
    "authenticator app; never ask for the code, and never type one. Only works on the pages that the secret belongs to"
)

# Under the limit that browser-use sets an action: the program gives up earlier than that, and says why.
SECONDS = 150


class FillTotpCode(BaseModel):
    """What the model says."""

    model_config = ConfigDict(extra="forbid")

    secret: str = Field(description="name of the login: words of its issuer and label, or its id")
    selector: str | None = Field(default=None, description="CSS selector of the field, only if it was not found without")


def add_fill_action(tools, *, program="countersign", flags=(), secrets=None, submit=True, domains=None):
    """Registers `fill_totp_code` on browser-use's `Tools` (or `Controller`).

    program: the program, or its path. flags: more flags for `countersign fill`, such as ["--seat", "ada@corp.com"].
    secrets: the names that the model may use; None: any that Countersign has. submit: False leaves the code in the page, where the
    next look at it shows the code to the model. domains: as for every action, the pages on which the model is offered this one.
    """
    options = {"domains": domains, "terminates_sequence": True}

    @tools.action(description_of(secrets), param_model=FillTotpCode, **options)
    async def fill_totp_code(params: FillTotpCode, browser_session: BrowserSession):
        if secrets is not None and params.secret not in secrets:
            return ActionResult(error=f"unknown secret; known are: {', '.join(secrets)}")
        more = [*flags, *([] if submit else ["--no-submit"])]
        if params.selector:
            more.append(f"--selector={params.selector}")
        return await fill(browser_session, program, params.secret, more)

    return fill_totp_code


def description_of(secrets):
    return WORDS if secrets is None else f"{WORDS}. Secrets: {', '.join(secrets)}"


async def fill(browser_session, program, secret, flags):
    """Runs `countersign fill` for the tab that the agent has in focus."""
    page, url = browser_session.agent_focus_target_id, browser_session.cdp_url
    if not page or not url:
        return ActionResult(error="no page is open")
    # What the model said is an argument of its own after `--`: never a flag, and never a shell's text. The address of the
    # browser may hold a credential, and arguments can be seen by others on the machine.
    command = [program, "fill", "--json", "--page", page, *flags, "--", secret]
    environment = {**os.environ, "COUNTERSIGN_BROWSER": url}
    pipe = asyncio.subprocess.PIPE
    try:
        running = await asyncio.create_subprocess_exec(
            *command, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
    except OSError as error:
        return ActionResult(error=f"Countersign can't be started: {error.strerror}")
    try:
        said, complained = await asyncio.wait_for(running.communicate(), SECONDS)
    except TimeoutError:
        return ActionResult(error="Countersign did not answer in time")
    finally:
        # Also if the agent was stopped meanwhile: a code must not be typed later on.
        if running.returncode is None:
            running.kill()
            await running.wait()
    if running.returncode != 0:
        return ActionResult(error=reason(complained))
    answer = json.loads(said)
    submitted = answer["status"] == "SUBMITTED"
    told = f"The code was {'filled in and submitted' if submitted else 'filled in, but not submitted,'} on {answer['origin']}."
    return ActionResult(extracted_content=told, long_term_memory=told)


def reason(complained):
    """Why it was refused, in the program's words, which hold no code."""
    lines = complained.decode(errors="replace").strip().splitlines() or ["no reason was given"]
    try:
        error = json.loads(lines[-1])
        candidates = error.get("candidates")
        more = f" Candidates: {json.dumps(candidates)}" if candidates else ""
        return f"{error['error']}: {error['message']}{more}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return lines[-1][:500]
