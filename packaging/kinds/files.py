"""What is tried without making a package of it: the container, the workflows, the dashboard."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import uuid
from pathlib import Path

from .base import HERE, ROOT, run


def container(build):
    """The image, by what its file says; and where there is an engine, the image itself, which compiles a release."""
    folder = HERE / "container"
    file = folder / "Dockerfile"
    run(build.python_tool("hadolint"), file)
    run(build.python_tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", folder / "compose.yaml")
    stage = file.read_text().rpartition("\nFROM ")[2].replace("\\\n", " ")
    said = {word: line.strip() for word, _, line in (line.partition(" ") for line in stage.splitlines()[1:])}
    user, volumes = said.get("USER", "root"), json.loads(said.get("VOLUME", "[]"))
    if not user.partition(":")[0].isdecimal() or int(user.partition(":")[0]) == 0:
        sys.exit(f"Dockerfile: USER {user} is not a number, which says who it is without the image, or is root")
    if len(volumes) != 2 or "HEALTHCHECK" not in said:
        sys.exit("Dockerfile: not two volumes, for the vault and its key, and a check of the health")
    entry = json.loads(build.filled(HERE / "server.json"))
    image = next(package for package in entry["packages"] if package["registryType"] == "oci")
    if [argument["value"].partition(":")[2] for argument in image["runtimeArguments"]] != volumes:
        sys.exit("server.json mounts other volumes than the Dockerfile has")
    engine = engine_here()
    if not engine or build.profile == "dev":
        return f"Dockerfile and compose.yaml, read{'' if engine else '; there is no engine here that would build the image'}"
    tag = image["identifier"]
    arguments = ["--build-arg", f"OWNER={build.owner}", "--build-arg", f"SOURCE_DATE_EPOCH={build.moment}"]
    run(engine, "build", "--tag", tag, *arguments, "--file", file, ROOT)
    build.starts([engine, "run", "--rm", "--interactive", "--read-only", "--cap-drop=ALL", tag, "stdio"])
    return tag


def engine_here():
    """What builds images here, if it is running."""
    for engine in ("docker", "podman"):
        if shutil.which(engine) and subprocess.run([engine, "info"], capture_output=True).returncode == 0:
            return engine
    return None


def workflows(build):
    """GitHub's workflows, by a schema, by what actions take and give, and by what an attacker would look for."""
    files = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    run(build.python_tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", *files)
    # It would ask whichever shellcheck and pyflakes are here.
    run(build.python_tool("actionlint"), "-no-color", "-shellcheck=", "-pyflakes=", *files)
    run(build.python_tool("zizmor"), "--offline", "--no-progress", "--persona=pedantic", *files)
    for file in files:
        for used in re.findall(r"uses: (.*)", file.read_text()):
            if not re.fullmatch(r"\S+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used):
                sys.exit(f"{file.name}: {used} is not a commit with the version that it is")
    return ", ".join(file.name for file in files)


# Only of a server whose vault is on PostgreSQL.
ON_POSTGRES = {"countersign_clock_ahead_seconds"}
PARSE = "import json, promql_parser, sys; [promql_parser.parse(query) for query in json.load(sys.stdin)]"


def dashboard(build):
    """Grafana's dashboard: its queries can be parsed, and ask for what a server shows, by labels that it has."""
    board = json.loads((HERE / "grafana.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    if len({panel["id"] for panel in board["panels"]}) != len(board["panels"]):
        sys.exit("grafana.json: two panels have one id")
    # What Grafana puts in.
    plain = [query.replace("$__rate_interval", "5m") for query in queries]
    run(build.python_tool("python"), "-c", PARSE, input=json.dumps(plain))
    shown = scraped(build)
    names = {line.split()[2] for line in shown.splitlines() if line.startswith("# TYPE ")}
    labels = {label for line in shown.splitlines() if line[0] != "#" for label in re.findall(r'(\w+)="', line)}
    names |= ON_POSTGRES
    labels |= {"job", "instance"}
    variables = [variable["query"]["query"] for variable in board["templating"]["list"] if variable["type"] == "query"]
    for query in queries + variables:
        asked = set(re.findall(r"\bcountersign_\w+", query))
        grouped = ", ".join(re.findall(r"by \(([^)]*)\)", query)).split(", ") + re.findall(r"(\w+)[!=]~?\"", query)
        if not asked or (wrong := (asked - names) | (set(grouped) - labels - {""})):
            sys.exit(f"grafana.json: {query}: no server shows {sorted(wrong) if asked else 'anything of it'}")
    if unseen := names - set(re.findall(r"\bcountersign_\w+", " ".join(queries))):
        sys.exit(f"grafana.json shows nothing of {sorted(unseen)}")
    return f"grafana.json, {len(queries)} queries for {len(names)} metrics"


def scraped(build):
    """What a server shows on /metrics, once it has made a backup, answered and refused."""
    with tempfile.TemporaryDirectory() as home:
        environment = {"PATH": os.environ["PATH"], "HOME": home}
        backups = Path(home) / "backups"
        backups.mkdir(mode=0o700)
        create = [build.program, "key", "create", "--name", "metrics", "--scope", "codes:read,audit:read", "--json"]
        token = json.loads(run(*create, env=environment))["token"]
        serve = [build.program, "serve", "--listen", "127.0.0.1:0", "--backup-dir", backups]
        server = subprocess.Popen(list(map(str, serve)), env=environment, stderr=subprocess.PIPE, text=True)
        try:
            said = iter(server.stderr)
            address = next(line.split()[-1] for line in said if "listening on " in line)
            # What it says once the first one is there.
            next(line for line in said if "a backup was made" in line)
            ask = lambda path: urllib.request.Request(f"{address}{path}", headers={"Authorization": f"Bearer {token}"})
            try:
                urllib.request.urlopen(ask(f"/api/v2/totp/code/{uuid.uuid4()}"), timeout=30)
            except urllib.error.HTTPError as refused:
                if refused.code != 404:
                    raise
            with urllib.request.urlopen(ask("/metrics"), timeout=30) as answer:
                return answer.read().decode()
        finally:
            server.terminate()
            server.communicate(timeout=60)
