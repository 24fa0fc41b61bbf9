"""`make fresh-test`: what the README promises, on a machine that has nothing yet.

For each Debian release and each kind of user, a root folder is made of Debian's python3, python3-venv and make alone,
the checkout is put into a home that is closed to others, and `make run` must bring its first order to a door, and end
in good order afterwards. Needs root, mmdebstrap and a package index; what pip and npm are told here (indexes,
certificates) they are told there as well.
"""

from __future__ import annotations

import argparse
import os
import queue
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

CHECKOUT = Path(__file__).resolve().parent.parent
SUITES = ("bookworm", "trixie")
PACKAGES = "python3,python3-venv,make"
USER = "someone"
HOMES = {"root": "/root", "user": f"/home/{USER}"}
DELIVERED = re.compile(r" ([1-9]\d*) delivered,")
SERVED = re.compile(r"^Mission control ")
END_S = 60.0  # that Ctrl-C may take
LEFT = "left behind: "

# Files and variables by which a machine tells its package clients where to look and whom to trust.
CLIENT_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
CLIENT_VARIABLES = re.compile(
    r"(pip|npm_config|ssl_cert|node_extra|requests_ca|https?_proxy|no_proxy)", re.IGNORECASE
)

# Inside the new mount and process namespaces: what a booted machine has beside its files. At the end, whoever is still
# there was left behind; with this shell, the first process of the namespace, they go too.
INSIDE = """
set -eu
mount --make-rprivate /
mount -t proc proc "$1/proc"
mount --rbind /sys "$1/sys"
mount --rbind /dev "$1/dev"
mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$1/tmp"
code=0
chroot "$2" "$1" "$3" || code=$?
for one in "$1"/proc/[0-9]*; do
  case "${one##*/}" in 1) ;; *) line=$(tr '\\0' ' ' <"$one/cmdline" 2>/dev/null || true)
    [ -z "$line" ] || echo "left behind: $line" ;; esac
done
exit $code
"""


class Outcome(NamedTuple):
    """Seconds from `make run` to the served page and to the first delivery, None where it never came; what is wrong."""

    suite: str
    who: str
    served_s: float | None
    delivered_s: float | None
    wrong: str = ""


def main() -> int:
    """Every release as every kind of user; prints a table, and returns 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suites", default=",".join(SUITES), help="releases of Debian, comma separated")
    parser.add_argument("--as", dest="who", default="root,user", help="root, user, or both")
    parser.add_argument(
        "--patience-s", type=float, default=600.0, help="from `make run` to the first delivery"
    )
    arguments = parser.parse_args()
    if os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
        print(
            "fresh-test makes Debian root folders: it needs root and the package mmdebstrap.", file=sys.stderr
        )
        return 2
    outcomes = []
    for suite in arguments.suites.split(","):
        with bare_machine(suite) as root:
            outcomes += [try_out(suite, who, root, arguments.patience_s) for who in arguments.who.split(",")]
    print(f"\n{'Debian':10} {'as':6} {'page s':>8} {'delivery s':>11}")
    for one in outcomes:
        times = [
            f"{seconds:.0f}" if seconds is not None else "-" for seconds in (one.served_s, one.delivered_s)
        ]
        print(f"{one.suite:10} {one.who:6} {times[0]:>8} {times[1]:>11}  {one.wrong or 'ok'}")
    return 1 if any(one.wrong for one in outcomes) else 0


@contextmanager
def bare_machine(suite: str) -> Iterator[Path]:
    """A root folder with nothing but the packages that the README asks for."""
    folder = Path(tempfile.mkdtemp(prefix=f"doorstep-{suite}-"))
    root = folder / "root"
    try:
        print(f"fresh-test: {suite} with {PACKAGES}", flush=True)
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", suite, str(root)],
            check=True,
        )
        for name in CLIENT_FILES:
            if Path(name).exists():
                (root / name[1:]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(name, root / name[1:])
        subprocess.run(
            ["chroot", str(root), "useradd", "--create-home", "--shell", "/bin/sh", USER], check=True
        )
        yield root
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def try_out(suite: str, who: str, root: Path, patience_s: float) -> Outcome:
    """`make run` in a fresh checkout, to the first delivery and to its end."""
    home = HOMES[who]
    checkout = root / home[1:] / "doorstep"
    copy_checkout(checkout)
    owner = USER if who == "user" else "root"
    subprocess.run(["chroot", str(root), "chown", "-R", f"{owner}:", home], check=True)
    (root / home[1:]).chmod(0o700)
    npmrc = Path.home() / ".npmrc"
    if npmrc.exists():
        shutil.copy(npmrc, root / home[1:])
        (root / home[1:] / ".npmrc").chmod(0o644)
    print(f"fresh-test: make run on {suite} as {who}", flush=True)
    environment = {
        **{name: value for name, value in os.environ.items() if CLIENT_VARIABLES.match(name)},
        "HOME": home,
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        # Of the machine that this root folder is on, which may have others on the usual ones.
        "PORT": str(free_port()),
        "DASHBOARD_PORT": str(free_port()),
    }
    assignments = " ".join(shlex.quote(f"{name}={value}") for name, value in environment.items())
    command = f"cd {home}/doorstep && exec env -i {assignments} make run 2>&1"
    script = root / "run.sh"
    script.write_text(f"#!/bin/sh\n{command}\n")
    script.chmod(0o755)
    namespaces = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
    process = subprocess.Popen(
        [*namespaces, "sh", "-c", INSIDE, "sh", str(root), f"--userspec={owner}:{owner}", "/run.sh"],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        return watch(suite, who, process, patience_s)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(checkout, ignore_errors=True)


def watch(suite: str, who: str, process: subprocess.Popen[str], patience_s: float) -> Outcome:
    """Read along until the first delivery, then stop the server as Ctrl-C would and see that it goes."""
    lines = read_along(process)
    began_s = time.monotonic()
    served_s = delivered_s = None
    until_s = began_s + patience_s
    left: list[str] = []
    while True:
        try:
            line = lines.get(timeout=max(0.0, until_s - time.monotonic()))
        except queue.Empty:
            wrong = "no delivery in time" if delivered_s is None else "did not end in time"
            return Outcome(suite, who, served_s, delivered_s, wrong)
        if line is None:
            break
        print(f"  {suite} {who} | {line}", flush=True)
        since_s = time.monotonic() - began_s
        if line.startswith(LEFT):
            left.append(line)
        if served_s is None and SERVED.match(line):
            served_s = since_s
        if delivered_s is None and DELIVERED.search(line):
            delivered_s = since_s
            until_s = time.monotonic() + END_S
            interrupt(process.pid)
    code = process.wait()
    if delivered_s is None or code != 0:
        return Outcome(suite, who, served_s, delivered_s, f"ended with {code}")
    return Outcome(suite, who, served_s, delivered_s, left[0] if left else "")


def read_along(process: subprocess.Popen[str]) -> queue.Queue[str | None]:
    """The lines of its output as they come, None after the last one."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line.rstrip("\n"))
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def interrupt(pid: int) -> None:
    """Ctrl-C for the server beneath this process."""
    for child in psutil.Process(pid).children(recursive=True):
        if child.cmdline()[-2:] == ["up", "--demo"]:
            child.send_signal(signal.SIGINT)
            return


def copy_checkout(target: Path) -> None:
    """What a clone of the work tree would hold."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, check=True, capture_output=True).stdout
    for name in listed.decode().split("\0"):
        if name and (CHECKOUT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, target / name)


def free_port() -> int:
    """A port that nobody has right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
