"""The program in the packages of each platform."""

import gzip
import json
import os
import platform
import re
import shutil
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

from .base import HERE, MACHINE, PLATFORM, PROGRAM, ROOT, SYSTEM, check_links, checksum, install_debian, run
from .newcomer import walk


def deb(build):
    # Cargo.toml names what lies there.
    build.stage
    tool = build.cargo_tool("cargo-deb")
    machine = {"x64": "amd64"}.get(MACHINE, MACHINE)
    package = build.out / f"countersign_{build.version}_{machine}.deb"
    arguments = ["--no-build", "--no-strip", "--fast", f"--profile={build.profile}", f"--output={package}", *build.for_triple]
    run(tool, *arguments, cwd=ROOT, env=build.environment)
    run("dpkg", "--install", package)
    try:
        build.starts(["/usr/bin/countersign", "stdio"])
        walk(build, "deb", "/usr/bin/countersign")
        for file in ("share/man/man1/countersign.1.gz", "share/bash-completion/completions/countersign"):
            if not (Path("/usr") / file).exists():
                sys.exit(f"{package}: /usr/{file} is not there")
        check_units(package, Path("/"))
    finally:
        run("dpkg", "--purge", "countersign")
    with tempfile.TemporaryDirectory() as folder:
        # Some systems install no documents.
        run("dpkg-deb", "--extract", package, folder)
        check_links(Path(folder) / "usr/share/doc")
    return package


def rpm(build):
    # Cargo.toml names what lies there.
    build.stage
    tool = build.cargo_tool("cargo-generate-rpm")
    if build.install and not shutil.which("rpm"):
        install_debian("rpm")
    package = build.out / f"countersign-{build.version}.{platform.machine()}.rpm"
    arguments = [f"--profile={build.profile}", f"--output={package}", "--payload-compress=gzip", *build.for_triple]
    run(tool, *arguments, f"--source-date={build.moment}", cwd=ROOT, env=build.environment)
    run("rpm", "--checksig", "--nosignature", package)
    with tempfile.TemporaryDirectory() as folder:
        run("rpm", "--root", folder, "--nodeps", "--install", package)
        build.starts([Path(folder) / "usr/bin/countersign", "stdio"])
        check_units(package, Path(folder))
        check_links(Path(folder) / "usr/share/doc")
    return package


def check_units(package, root):
    """Checks that a package has installed both units and enabled neither: the server needs a key first."""
    units = root / "usr/lib/systemd/system"
    for unit in ("countersign.service", "countersign.socket"):
        if not (units / unit).exists():
            sys.exit(f"{package}: {units / unit} is not there")
        if enabled := list((root / "etc/systemd/system").glob(f"*.wants/{unit}")):
            sys.exit(f"{package} enables {enabled[0]}")


def mcpb(build):
    tool = build.npm_tool("mcpb")
    folder, package = build.stage / "mcpb", build.out / f"countersign-{PLATFORM}.mcpb"
    (folder / "server").mkdir(parents=True)
    shutil.copy2(build.program, folder / "server" / PROGRAM)
    manifest = json.loads(build.filled(HERE / "mcpb" / "manifest.json"))
    tools = build.starts([build.program, "stdio"])
    manifest["tools"] = [{"name": tool["name"], "description": tool["description"].split(". ")[0]} for tool in tools]
    manifest["compatibility"]["platforms"] = [SYSTEM]
    manifest["server"]["entry_point"] = f"server/{PROGRAM}"
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    run(tool, "validate", folder / "manifest.json")
    run(tool, "pack", folder, package)
    settle(package, build.moment)
    with tempfile.TemporaryDirectory() as unpacked:
        run(tool, "unpack", package, unpacked)
        server = json.loads((Path(unpacked) / "manifest.json").read_text())["server"]
        found = server["mcp_config"]
        found |= found.get("platform_overrides", {}).get(SYSTEM, {})
        meant = lambda text: text.replace("${__dirname}", unpacked).replace("${user_config.data_dir}", "")
        (Path(unpacked) / server["entry_point"]).chmod(0o755)
        environment = {name: meant(value) for name, value in found["env"].items()}
        command = meant(found["command"])
        if Path(command) != Path(unpacked) / server["entry_point"]:
            sys.exit(f"{package.name}: the command {found['command']} is not the bundle's program")
        build.starts([command, *found["args"]], environment)
        walk(build, "mcpb", server={"command": command, "args": found["args"], "env": environment})
    return package


def settle(package, moment):
    """Writes a zip anew, with its entries sorted and of one time: the tool writes the times at which files were copied."""
    with zipfile.ZipFile(package) as archive:
        entries = sorted((entry.filename, entry.external_attr, archive.read(entry)) for entry in archive.infolist())
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, attributes, data in entries:
            entry = zip_entry(name, moment)
            entry.external_attr = attributes
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)


def zip_entry(name, moment):
    entry = zipfile.ZipInfo(name, time.gmtime(moment)[:6])
    # Unix, instead of the system on which it was packed.
    entry.create_system = 3
    return entry


def npm(build):
    name, packages = f"countersign-{PLATFORM}", []
    for folder, described in ((build.stage / "npm", None), (build.stage / name, name)):
        folder.mkdir()
        package = json.loads(build.filled(HERE / "npm" / "package.json"))
        if described:
            for field in ("bin", "optionalDependencies", "engines"):
                del package[field]
            words = f"The program of the package countersign for {PLATFORM}"
            package |= {"name": name, "description": words, "files": [PROGRAM], "os": [SYSTEM], "cpu": [MACHINE]}
            if SYSTEM == "linux" and not (build.triple or "").endswith("musl"):
                # A release has the static program, which runs with any C library.
                package["libc"] = ["glibc"]
            shutil.copy2(build.program, folder / PROGRAM)
        else:
            shutil.copy2(HERE / "npm" / "countersign.js", folder / "countersign.js")
        (folder / "package.json").write_text(json.dumps(package, indent=2) + "\n")
        shutil.copy2(build.stage / "README.md", folder / "README.md")
        made = json.loads(run("npm", "pack", "--json", "--pack-destination", build.out, cwd=folder))
        packages.append(build.out / made[0]["filename"])
    with tempfile.TemporaryDirectory() as folder:
        # Packages for other platforms are in no registry yet, and optional.
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--offline", "--prefix", folder]
        run(*command, *reversed(packages))
        build.starts([Path(folder) / "node_modules" / ".bin" / "countersign", "stdio"])
        check_links(Path(folder) / "node_modules")
    return packages[0]


def archive(build):
    """Makes the archive for Homebrew, `cargo binstall` and people without a package manager, and its checksum."""
    host = next(line.split()[1] for line in run("rustc", "-vV").splitlines() if line.startswith("host:"))
    triple = build.triple or host
    base = f"countersign-{build.version}-{triple}"
    package = build.out / (f"{base}.zip" if SYSTEM == "win32" else f"{base}.tar.gz")
    files = {PROGRAM: build.program, "README.md": build.stage / "README.md"}
    files |= {name: ROOT / name for name in ("LICENSE-MIT", "LICENSE-APACHE")}
    for folder in ("man", "completions"):
        files |= {f"{folder}/{file.name}": file for file in (build.stage / folder).iterdir()}
    files = {f"{base}/{name}": file for name, file in sorted(files.items())}
    with tempfile.TemporaryDirectory() as folder:
        if SYSTEM == "win32":
            with zipfile.ZipFile(package, "w") as written:
                for name, file in files.items():
                    written.writestr(zip_entry(name, build.moment), file.read_bytes(), zipfile.ZIP_DEFLATED)
            with zipfile.ZipFile(package) as written:
                written.extractall(folder)
        else:
            with gzip.GzipFile(package, "wb", mtime=build.moment) as packed, tarfile.open(fileobj=packed, mode="w") as written:
                for name, file in files.items():
                    written.add(file, name, filter=lambda entry: settled(entry, build.moment))
            with tarfile.open(package) as written:
                written.extractall(folder, filter="data")
        build.starts([Path(folder) / base / PROGRAM, "stdio"])
        check_links(Path(folder) / base)
        walk(build, "archive", Path(folder) / base / PROGRAM)
        check_binstall(build, triple, package, Path(folder))
    (build.out / f"{package.name}.sha256").write_text(f"{checksum(package)}  {package.name}\n")
    return package


def check_binstall(build, triple, package, unpacked):
    """Checks that what Cargo.toml tells `cargo binstall` leads to this archive, and to the program in it."""
    metadata = json.loads(run("cargo", "metadata", "--no-deps", "--locked", "--format-version=1", cwd=ROOT))
    told = metadata["packages"][0]["metadata"]["binstall"]
    told |= told["overrides"].get(triple, {})
    known = {"repo": build.repository, "name": "countersign", "bin": "countersign", "version": build.version, "target": triple}
    known["binary-ext"] = ".exe" if SYSTEM == "win32" else ""

    def rendered(template):
        return re.sub(r"\{ ([a-z-]+) \}", lambda found: known[found[1]], template)

    # It tries each of the endings that a format has.
    endings = {"tgz": (".tgz", ".tar.gz"), "zip": (".zip",)}[told["pkg-fmt"]]
    urls = [rendered(told["pkg-url"].replace("{ archive-suffix }", ending)) for ending in endings]
    if f"{build.repository}/releases/download/v{build.version}/{package.name}" not in urls:
        sys.exit(f"cargo binstall looks for {' or '.join(urls)}, not for {package.name}")
    if not (unpacked / (path := rendered(told["bin-dir"]))).is_file():
        sys.exit(f"cargo binstall looks for {path}, which {package.name} lacks")


def settled(entry, moment):
    """Sets an entry's time and mode, and removes the user who packed it."""
    entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = moment, 0, 0, "", ""
    entry.mode = 0o755 if entry.mode & 0o100 else 0o644
    return entry
