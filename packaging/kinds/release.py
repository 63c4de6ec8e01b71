"""The parts that a release has once, whatever the platform, about the packages that lie in the folder."""

import fnmatch
import json
import os
import re
import sys
import tarfile
import zipfile

from .base import HERE, ROOT, checksum, run
from .files import released

# The registry's schemas, byte for byte, are in the package of a linter: the registry itself publishes them on a page only.
SCHEMAS = ("skillsaw==0.22.0", "skillsaw/schemas/mcp_registry/v2025_12_11/server.schema.json")
SCHEMA_SHA256 = "3fba09590c99f61735d234822279f4223fab9e300c0a81e81c91ab62a4114de0"


def registry(build):
    """Makes the entry in the MCP registry, from which hosts install, for each platform whose .mcpb is in the folder."""
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
    # The schema states in prose alone that the registry refuses a version that is a range.
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


# Ruby's own parser, compiled for Node: no system needs Ruby for it.
PARSE = """
import { readFileSync } from "node:fs";
const { loadPrism } = await import(process.argv[1]);
const { errors } = (await loadPrism())(readFileSync(0, "utf8"));
for (const { message } of errors) console.error(message);
process.exit(errors.length);
"""


def homebrew(build):
    """Makes the formula of Homebrew, for each platform whose archive is in the folder; all four are once a release is collected."""
    formula, built = build.filled(HERE / "homebrew" / "countersign.rb"), []
    for target in re.findall(r'"URL-(.+)"', formula):
        package = build.out / f"countersign-{build.version}-{target}.tar.gz"
        if "archive" not in released().get(target, ()):
            sys.exit(f"countersign.rb: no release has an archive for {target}")
        if package.exists():
            url = f"{build.repository}/releases/download/v{build.version}/{package.name}"
            formula = formula.replace(f"URL-{target}", url).replace(f"SHA256-{target}", checksum(package))
            built.append(target)
            installs(formula, package)
        else:
            formula = re.sub(rf' +on_\w+ do\n +url "URL-{target}"\n.*\n +end\n', "", formula)
    if not built:
        sys.exit(f"no archive that Homebrew installs is in {build.out}: make archive first")
    # A system of which no archive is here.
    formula = re.sub(r" +on_\w+ do\n +end\n\n", "", formula)
    if left := re.findall(r"URL-\S+|SHA256-\S+|VERSION|REPOSITORY", formula):
        sys.exit(f"countersign.rb: {', '.join(left)} is not filled in")
    run("node", "--input-type=module", "--eval", PARSE, build.npm_tool("prism", "@ruby/prism/src/index.js"), input=formula)
    file = build.out / "countersign.rb"
    file.write_text(formula)
    return f"{file.name}, for {', '.join(built)}"


def installs(formula, package):
    """Checks that an archive has what the formula installs."""
    with tarfile.open(package) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    for wanted in re.findall(r'install (?:Dir\[)?"(.+?)"', formula):
        if not fnmatch.filter(names, wanted):
            sys.exit(f"countersign.rb installs {wanted}, which {package.name} lacks")


def sbom(build):
    """The bill of materials: every crate that is in the program on any platform, with its licence and checksum."""
    tool = build.cargo_tool("cargo-cyclonedx")
    name = f"countersign-{build.version}.cdx"
    arguments = ["--format=json", "--spec-version=1.5", "--target=all", "--all", "--quiet"]
    written = ROOT / f"{name}.json"
    try:
        # The tool writes beside Cargo.toml.
        run(tool, "cyclonedx", *arguments, f"--override-filename={name}", cwd=ROOT, env=build.environment)
        bill = json.loads(written.read_text())
    finally:
        written.unlink(missing_ok=True)
    # The clone's path is of no use to a reader, and would make the file differ for each clone.
    bill = json.loads(json.dumps(bill).replace(ROOT.as_uri(), "file:///countersign"))
    if str(ROOT) in json.dumps(bill):
        sys.exit("the bill of materials names the folder of the clone")
    named = {(part["name"], part["version"]): part for part in bill["components"]}
    if missing := crates() - set(named):
        sys.exit(f"the bill of materials lacks {sorted(missing)}")
    for (crate, version), part in named.items():
        if not part.get("licenses") or not part.get("purl") or not part.get("hashes"):
            sys.exit(f"the bill of materials lacks the licence, name or checksum of {crate} {version}")
    if bill["metadata"]["component"]["version"] != build.version or bill["specVersion"] != "1.5":
        sys.exit("the bill of materials is of another version")
    file = build.out / f"{name}.json"
    file.write_text(json.dumps(bill, indent=2) + "\n")
    return f"{file.name}, {len(named)} crates"


def crates():
    """The name and version of every crate that the program is linked with, on any platform."""
    metadata = json.loads(run("cargo", "metadata", "--locked", "--format-version=1", cwd=ROOT))
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    found, left = set(), [metadata["resolve"]["root"]]
    while left:
        if (crate := left.pop()) not in found:
            found.add(crate)
            deps = nodes[crate]["deps"]
            left += [dep["pkg"] for dep in deps if any(kind["kind"] is None for kind in dep["dep_kinds"])]
    found.discard(metadata["resolve"]["root"])
    return {(package["name"], package["version"]) for package in metadata["packages"] if package["id"] in found}


def sums(build):
    """The checksums of all that lies in the folder."""
    file = build.out / "SHA256SUMS"
    packages = [package for package in sorted(build.out.iterdir()) if package.is_file() and package != file]
    file.write_text("".join(f"{checksum(package)}  {package.name}\n" for package in packages if package.suffix != ".sha256"))
    return f"{file.name}, {len(file.read_text().splitlines())} files"


# The files that the crate may have, those that Cargo writes included.
IN_CRATE = re.compile(
    r"(src/.+\.(rs|js|css|html|md|svg|txt)|migrations/\w+/\w+\.sql|docs/\w+\.(md|svg)|mcp\.json|Cargo\.(toml|toml\.orig|lock)"
    r"|\.cargo_vcs_info\.json|(CHANGELOG|README|SECURITY)\.md|LICENSE-(APACHE|MIT))"
)
# The key that the last pattern excludes is a test vector.
SECRETS = re.compile(rb"PRIVATE KEY-----\s+[A-Za-z0-9+/]{40}|AGE-SECRET-KEY-1[0-9A-Z]{58}|\bcs_(?!0129AZaz0167_)[A-Za-z0-9_-]{30}")
LARGEST = 10_000_000


def crate(build):
    """Checks the crate that crates.io would get: only what is compiled and what a person reads, no secret, and not
    large."""
    # A folder of its own, so that the .crate does not stay among the packages.
    folder = build.target / "crate"
    # A clone may hold changes that are being tried.
    command = ["cargo", "package", "--locked", "--no-verify", "--allow-dirty", "--quiet"]
    run(*command, cwd=ROOT, env={**os.environ, "CARGO_TARGET_DIR": str(folder)})
    file = folder / "package" / f"countersign-{build.version}.crate"
    if file.stat().st_size > LARGEST:
        sys.exit(f"{file.name} has {file.stat().st_size} bytes")
    with tarfile.open(file) as archive:
        members = {entry.name.partition("/")[2]: archive.extractfile(entry).read() for entry in archive if entry.isfile()}
    for name, data in members.items():
        if not IN_CRATE.fullmatch(name):
            sys.exit(f"{file.name} has {name}, which nobody needs who compiles it")
        if SECRETS.search(data):
            sys.exit(f"{file.name}: {name} holds what looks like a key")
    for name, data in members.items():
        # Only a file's tests need what they include: the users of the crate do not compile them.
        text = data.decode(errors="ignore").partition("#[cfg(test)]\nmod tests")[0] if name.endswith(".rs") else ""
        for included in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', text):
            if (wanted := os.path.normpath(f"{os.path.dirname(name)}/{included}").replace(os.sep, "/")) not in members:
                sys.exit(f"{file.name} lacks {wanted}, which {name} includes")
    return f"{file.name}, {file.stat().st_size / 1e6:.1f} MB, {len(members)} files"
