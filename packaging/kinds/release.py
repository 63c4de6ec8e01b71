"""What a release has once, whatever the platform, about the packages that lie in the folder."""

import json
import re
import sys
import zipfile

from .base import HERE, ROOT, checksum, run

# The registry's schemas, byte for byte, are in the package of a linter: the registry itself publishes them on a page only.
SCHEMAS = ("skillsaw==0.22.0", "skillsaw/schemas/mcp_registry/v2025_12_11/server.schema.json")
SCHEMA_SHA256 = "3fba09590c99f61735d234822279f4223fab9e300c0a81e81c91ab62a4114de0"


def registry(build):
    """The entry in the registry of MCP: what hosts install from, for every platform whose .mcpb is in the folder."""
    entry = json.loads(build.filled(HERE / "server.json"))
    bundles = sorted(build.out.glob("countersign-*.mcpb"))
    if not bundles:
        sys.exit(f"no .mcpb is in {build.out}: make mcpb first")
    packages = []
    for package in entry["packages"]:
        packages += [filled(package, bundle, build.version) for bundle in bundles] if package["registryType"] == "mcpb" else [package]
    entry["packages"] = packages
    known = "".join(file.read_text() for file in (ROOT / "src" / "config").glob("*.rs"))
    for variable in (variable["name"] for package in packages for variable in package["environmentVariables"]):
        if f'"{variable}"' not in known:
            sys.exit(f"server.json names {variable}, which the program does not read")
    file = build.out / "server.json"
    file.write_text(json.dumps(entry, indent=2) + "\n")
    schema = entry_schema(build)
    if entry["$schema"] != json.loads(schema.read_text())["$id"]:
        sys.exit("server.json is of another schema than the one it is checked against")
    run(build.python_tool("check-jsonschema"), "--schemafile", schema, file)
    # What the schema says in words: the registry refuses a version that is a range, and two names of one entry.
    if not re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", entry["version"]):
        sys.exit(f"server.json: {entry['version']} is not one version")
    return file


def filled(package, bundle, version):
    """The package of one platform."""
    with zipfile.ZipFile(bundle) as archive:
        found = json.loads(archive.read("manifest.json"))["version"]
    if found != version:
        sys.exit(f"{bundle.name} is of version {found}")
    platform = bundle.stem.removeprefix("countersign-")
    return json.loads(json.dumps(package).replace("PLATFORM", platform).replace("SHA256", checksum(bundle)))


def entry_schema(build):
    requirement, path = SCHEMAS
    file = build.tools / "server.schema.json"
    if build.install and not (file.exists() and checksum(file) == SCHEMA_SHA256):
        wheels = build.tools / "wheels"
        command = ["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", wheels, requirement]
        run(build.python_tool("pip"), *command)
        with zipfile.ZipFile(next(wheels.glob("skillsaw-*.whl"))) as wheel:
            file.write_bytes(wheel.read(path))
    if checksum(file) != SCHEMA_SHA256:
        sys.exit(f"{requirement} has another schema")
    return file
