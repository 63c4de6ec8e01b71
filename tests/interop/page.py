"""A person with a browser, who adds a secret on the page of an enrolment."""

import html
import re
import urllib.parse
import urllib.request


def field(page, name):
    return html.unescape(re.search(rf'name="{name}"[^>]* value="([^"]*)"', page).group(1))


def send(url, form=None):
    body = None if form is None else urllib.parse.urlencode(form).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=30) as answer:
        return answer.read().decode()


def add_on_page(url, key):
    """Adds a secret, and returns the title of the last page."""
    page = send(url)
    ticket = field(page, "ticket")
    form = {"step": "look", "ticket": ticket, "key": key, "label": field(page, "label"), "issuer": field(page, "issuer")}
    entry = field(send(url, form), "entry")
    added = send(url, {"step": "add", "ticket": ticket, "entry": entry})
    return re.search("<h1>(.*)</h1>", added).group(1)
