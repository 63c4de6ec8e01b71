"""What is tried without making a package of it: the container, the workflows, the dashboard."""

import json
import re
import shutil
import subprocess
import sys

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
    run(build.python_tool("actionlint"), "-no-color", *files)
    run(build.python_tool("zizmor"), "--offline", "--no-progress", "--persona=pedantic", *files)
    for file in files:
        for used in re.findall(r"uses: (.*)", file.read_text()):
            if not re.fullmatch(r"\S+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used):
                sys.exit(f"{file.name}: {used} is not a commit with the version that it is")
    return ", ".join(file.name for file in files)
