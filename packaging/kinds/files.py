"""Checks of files of which no package is made: the container, the workflows, the dashboard."""

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
    """Checks the Dockerfile; where there is an engine and the profile is not dev, also builds the image, which compiles
    a release, and starts it."""
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
    """The container engine that is running here, if any."""
    for engine in ("docker", "podman"):
        if shutil.which(engine) and subprocess.run([engine, "info"], capture_output=True).returncode == 0:
            return engine
    return None


def workflows(build):
    """Checks GitHub's workflows by a schema, by the inputs and outputs of actions, and for security flaws."""
    files = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    run(build.python_tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", *files)
    # Otherwise actionlint would run whichever shellcheck and pyflakes are installed.
    run(build.python_tool("actionlint"), "-no-color", "-shellcheck=", "-pyflakes=", *files)
    run(build.python_tool("zizmor"), "--offline", "--no-progress", "--persona=pedantic", *files)
    for file in files:
        for used in re.findall(r"uses: (.*)", file.read_text()):
            if not re.fullmatch(r"\S+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used):
                sys.exit(f"{file.name}: {used} is not a commit with the version that it is")
    built = {platform(target) for target, kinds in released().items() if "npm" in kinds}
    wanted = set(json.loads(build.filled(HERE / "npm" / "package.json"))["optionalDependencies"])
    if wanted != {f"countersign-{name}" for name in built}:
        sys.exit(f"release.yml makes npm packages for {sorted(built)}; packaging/npm asks for {sorted(wanted)}")
    return ", ".join(file.name for file in files)


def released():
    """The targets for which a release is built, and the kinds of packages of each."""
    lines = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    return {target: kinds.split() for target, kinds in re.findall(r"target: (\S+), kinds: ([a-z ]+?) }", lines)}


def platform(target):
    """What npm calls a target's platform."""
    machine, _, system = target.split("-")[:3]
    return f"{'win32' if system == 'windows' else system}-{'arm64' if machine == 'aarch64' else 'x64'}"


# Metrics that only a server with its vault on PostgreSQL has.
ON_POSTGRES = {"countersign_clock_ahead_seconds"}
PARSE = "import json, promql_parser, sys; [promql_parser.parse(query) for query in json.load(sys.stdin)]"


def dashboard(build):
    """Checks Grafana's dashboard: its queries can be parsed, and name metrics and labels that a server has."""
    board = json.loads((HERE / "grafana.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    if len({panel["id"] for panel in board["panels"]}) != len(board["panels"]):
        sys.exit("grafana.json: two panels have one id")
    # Grafana fills this variable in.
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
    """Returns what a server shows on /metrics after it has made a backup and refused a request."""
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
            # The server logs this once it has made the first backup.
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
