"""A person with a browser, who adds a secret on the page of an enrolment."""

import html
import re
import urllib.error
import urllib.parse
import urllib.request


def field(page, name):
    return html.unescape(re.search(rf'name="{name}"[^>]* value="([^"]*)"', page).group(1))


def send(url, form=None):
    body = None if form is None else urllib.parse.urlencode(form).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=30) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.read().decode()


def title(page):
    return re.search("<h1>(.*)</h1>", page).group(1)


def add_on_page(url, key, pin=""):
    """Adds a secret, and enters the PIN if the page requires it. Returns the title of the last page."""
    page = send(url)
    if pin and title(page) == "Who are you?":
        page = send(url, {"step": "prove", "proof": pin})
    ticket = field(page, "ticket")
    form = {"step": "look", "ticket": ticket, "key": key, "label": field(page, "label"), "issuer": field(page, "issuer")}
    entry = field(send(url, form), "entry")
    return title(send(url, {"step": "add", "ticket": ticket, "entry": entry}))
