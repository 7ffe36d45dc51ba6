# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Commands of Python in processes of their own that need not import torch and MONAI.

An interpreter imports them for six seconds, and the tests start many. Here a process that has imported them, and
nothing of this package, copies itself for each command (multiprocessing's fork server, one for each worker of the
tests). What a command sees is that of a new interpreter: its modules' path, environment, working directory, streams,
signals and exit status.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["torch", "torch.utils.tensorboard", "monai.bundle", "monai.engines", "monai.handlers", "ignite.distributed"]
)


class Command:
    """A process as `subprocess.Popen` has it.

    Args:
        words: what stands behind ``python``: -W ignore, -m MODULE, -c CODE or a file, and the command's own.
        cwd: its working directory (default: this one).
        env: its environment (default: this one).
        stdout: file for its output (default: nowhere).
        stderr: the same for its errors.
    """

    def __init__(
        self,
        words: Sequence[str],
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        stdout: str | os.PathLike[str] = os.devnull,
        stderr: str | os.PathLike[str] = os.devnull,
    ) -> None:
        self.args, self.stdout = [*words], os.fspath(stdout)
        streams = [self.stdout, os.fspath(stderr)]
        call = (self.args, os.fspath(cwd or Path.cwd()), dict(os.environ if env is None else env), streams)
        self._process = SERVER.Process(target=_run, args=call)
        self._process.start()
        self.pid: int = self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return self._process.exitcode

    def wait_for_line(self, line: str, timeout: float = 60) -> None:
        """Wait until its output is a line."""
        until = time.monotonic() + timeout
        while not Path(self.stdout).exists() or Path(self.stdout).read_text(encoding="utf-8") != line:
            if self.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"{self.args} has not said {line!r}; its status is {self.returncode}.")
            time.sleep(0.01)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_python(
    words: Sequence[str],
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run a command of Python until it ends: what `subprocess.run` gives of ``[sys.executable, *words]``."""
    (done,) = run_together([(words, env)], cwd, timeout)
    return done


def run_processes(
    words: Sequence[str], number: int = 2, env: Mapping[str, str] | None = None, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run a command in several processes of one torch.distributed group, as torchrun starts them.

    Returns:
        The largest exit status, and what all of them said.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(number)}
    group |= {"LOCAL_WORLD_SIZE": str(number)} | dict(os.environ if env is None else env)
    calls = [(words, group | {"RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(number)]
    done = run_together(calls, None, timeout)
    said = ["".join(texts) for texts in zip(*((one.stdout, one.stderr) for one in done), strict=True)]
    return subprocess.CompletedProcess(words, max(abs(one.returncode) for one in done), *said)


def run_together(
    calls: Sequence[tuple[Sequence[str], Mapping[str, str] | None]], cwd: str | os.PathLike[str] | None, timeout: float
) -> list[subprocess.CompletedProcess[str]]:
    """Run commands at once until all have ended."""
    with tempfile.TemporaryDirectory() as folder:
        files = [(Path(folder, f"{index}.out"), Path(folder, f"{index}.err")) for index in range(len(calls))]
        commands = [Command(words, cwd, env, *two) for (words, env), two in zip(calls, files, strict=True)]
        try:
            codes = [command.wait(timeout) for command in commands]
        finally:
            for command in commands:
                command.kill()
        texts = [[file.read_text(encoding="utf-8") for file in two] for two in files]
        return [
            subprocess.CompletedProcess(command.args, code, *two)
            for command, code, two in zip(commands, codes, texts, strict=True)
        ]


def _run(words: list[str], cwd: str, env: dict[str, str], streams: list[str]) -> None:
    """In the new process: become what the interpreter would be, and run."""
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for own, place in zip((sys.stdout, sys.stderr), streams, strict=True):
        _redirect(own, place)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    while words[0] == "-W":
        warnings.simplefilter(words[1])  # type: ignore[arg-type]
        words = words[2:]
    kind, name, rest = (words[0], words[1], words[2:]) if words[0] in ("-m", "-c") else ("", words[0], words[1:])
    first = {"-m": cwd, "-c": ""}.get(kind, os.path.dirname(os.path.abspath(name)))
    installed = [place for place in sys.path if place.startswith((sys.prefix, sys.base_prefix))]
    sys.path[:] = [first, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep)), *installed]
    sys.argv = [kind or name, *rest]
    try:
        _execute(kind, name)
    except Exception:
        sys.excepthook(*sys.exc_info())  # which a program may have replaced; multiprocessing does not ask it
        sys.exit(1)
    finally:
        atexit._run_exitfuncs()  # which multiprocessing leaves out, too


def _execute(kind: str, name: str) -> None:
    if kind == "-m":
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    elif kind == "-c":
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(name, "<string>", "exec"), names)
    else:
        runpy.run_path(name, run_name="__main__")


def _redirect(stream: IO[str], place: str) -> None:
    with open(place, "ab") as file:
        os.dup2(file.fileno(), stream.fileno())
