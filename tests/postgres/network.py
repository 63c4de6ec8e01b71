"""A network of this process alone, whose links it can cut: network namespaces of the kernel, joined by two bridges.

Every host has a namespace with one link to the network `cluster`, in which the servers agree, and one to the network
`clients`. This process moves into a namespace of its own, with a link to both. A link that is cut loses every packet in both
directions, as one that is pulled out of a switch. The system's own network is not touched, and all of it is gone with the
last process in it.
"""

import ctypes
import os
import subprocess
import sys

# Addresses that are reserved for examples (RFC 5737), so that no real host has them.
NETWORKS = {"cluster": "198.51.100", "clients": "203.0.113"}
CLONE_NEWNET = 0x4000_0000


def new_namespace():
    """Moves this thread, and what it starts from now on, into a new namespace, and returns a descriptor of the
    namespace."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        why = os.strerror(ctypes.get_errno())
        sys.exit(f"no network namespaces can be made here, and without them no network can be cut: {why}. It takes root")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


def go_back(namespace):
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def ip(*arguments, within=()):
    done = subprocess.run([*within, "ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"the test's network can't be made here: ip {' '.join(arguments)}: {done.stderr.strip()}")


class Host:
    """A machine of the network."""

    def __init__(self, network, number):
        self.number = number
        namespace = new_namespace()
        go_back(network.namespace)
        # The words before a command that have it run on this host.
        self.within = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{namespace}", "--"]
        ip("link", "set", "lo", "up", within=self.within)
        for name in NETWORKS:
            ends = [self.link(name), "type", "veth", "peer", "name", name, "netns", f"/proc/{os.getpid()}/fd/{namespace}"]
            ip("link", "add", *ends)
            ip("address", "add", f"{self.address(name)}/24", "dev", name, within=self.within)
            ip("link", "set", name, "up", within=self.within)
            ip("link", "set", self.link(name), "master", name, "up")

    def link(self, name):
        """The end of a link that is at the bridge."""
        return f"{name}{self.number}"

    def address(self, name):
        return f"{NETWORKS[name]}.{self.number}"

    def cut(self, *names):
        """Cuts the links to networks; returns a function that joins them again."""
        for name in names:
            ip("link", "set", self.link(name), "nomaster")

        def join():
            for name in names:
                ip("link", "set", self.link(name), "master", name)

        return join


class Network:
    """The bridges, in a new namespace into which this process moves; it must not have started a thread."""

    def __init__(self):
        self.namespace, self.hosts = new_namespace(), 0
        ip("link", "set", "lo", "up")
        for name, net in NETWORKS.items():
            ip("link", "add", name, "type", "bridge")
            ip("address", "add", f"{net}.254/24", "dev", name)
            ip("link", "set", name, "up")

    def host(self):
        self.hosts += 1
        return Host(self, self.hosts)
