"""The processes that `benches/run` measures or needs: how they start and end, and the stores that are servers."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path


class Failed(Exception):
    """A sentence for whoever runs this."""


# ---- processes ----


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pinned(command, cpu, user=()):
    """The command on one CPU; it is killed when the runner ends, however the runner ends."""
    return ["setpriv", *user, "--pdeathsig", "KILL", "taskset", "-c", str(cpu), *map(str, command)]


@contextmanager
def running(command, cpu, port, log, user=(), end=signal.SIGKILL):
    """A server, from the moment when it accepts connections; nobody's environment changes what it does."""
    environment = {"PATH": os.environ["PATH"]}
    with open(log, "w") as output:
        streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
        process = subprocess.Popen(pinned(command, cpu, user), env=environment, **streams)
        try:
            trouble = await_port(process, port)
            if trouble:
                raise Failed(f"{' '.join(map(str, command))} {trouble}\n{Path(log).read_text()[-2000:]}".rstrip())
            yield process
        finally:
            process.send_signal(end)
            process.wait()


def await_port(process, port):
    """None as soon as the server accepts connections; otherwise what it does instead."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return f"ended with status {process.returncode}"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return None
        except OSError:
            time.sleep(0.02)
    return "does not listen"


# ---- stores that are servers ----


@contextmanager
def redis(directory, cpu, _cloakroom, _configuration):
    """Redis that keeps nothing on disk; what the configuration says about it."""
    port = free_port()
    server = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", directory, "--save", ""]
    with running(server, cpu, port, directory / "log"):
        yield f'[stores.redis]\ntype = "redis"\nurl = "redis://127.0.0.1:{port}/0"\n'


@contextmanager
def memcached(directory, cpu, _cloakroom, _configuration):
    port = free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    server = ["memcached", "-l", "127.0.0.1", "-p", port, "-m", 256, *user]
    with running(server, cpu, port, directory / "log"):
        yield f'[stores.memcached]\ntype = "memcached"\nservers = ["127.0.0.1:{port}"]\n'


@contextmanager
def postgres(directory, cpu, cloakroom, configuration):
    """PostgreSQL as it is out of the box; it refuses to run as root. `configuration` makes a file that uses it."""
    port, data, user = free_port(), directory / "data", []
    if os.geteuid() == 0:
        user = ["--reuid=postgres", "--regid=postgres", "--clear-groups"]
        shutil.chown(directory, "postgres", "postgres")
    bin = postgres_programs()
    make = [bin / "initdb", "-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C"]
    quietly(pinned(make, cpu, user))
    server = [bin / "postgres", "-D", data, "-p", port, "-h", "127.0.0.1", "-k", directory]
    with running(server, cpu, port, directory / "log", user, end=signal.SIGQUIT):
        section = f'[stores.postgres]\ntype = "postgres"\nurl = "postgres://bench@127.0.0.1:{port}/postgres"\n'
        file = directory / "cloakroom.toml"
        file.write_text(configuration({"postgres": section}))
        retry(lambda: quietly([cloakroom, *MAKE_TABLE, "-c", file]))
        yield section


SERVERS = {"redis": redis, "memcached": memcached, "postgres": postgres}
# What makes the table before a proxy may use it.
MAKE_TABLE = ["store", "migrate", "postgres"]


def postgres_programs():
    """Debian keeps them out of everybody's PATH."""
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if not places:
        raise Failed("missing: postgres (package postgresql)")
    return places[0]


def quietly(command):
    """A command that has to succeed; what it says is of interest only when it does not."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))} failed:\n{done.stdout[-1000:]}{done.stderr[-1000:]}")


def retry(act):
    """Servers may accept connections a moment before they answer."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return act()
        except Failed:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
