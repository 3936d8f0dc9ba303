"""A Python that has loaded what takes seconds to load, and forks for every command: each still has a process, a folder,
an environment, streams and an exit code of its own, and is spared the start.

What a test says of the start itself (what is imported, signals, limits, packages beside ours) needs the real command.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

# Where the clients are, for the workers of a session, which share what forks.
PLACE = "DIPSIM_TESTS_WARM_START"
# One thread each: commands of two workers share two cores, and a library with threads of its own cannot be forked.
SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "HF_HUB_OFFLINE": "1",
}
CLIENT = """\
#!{python} -ISE
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"."], [0, 1, 2])
    server.sendall(json.dumps([{what!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]).encode() + b"\\n")
    status = int(server.recv(16) or b"-9")
if status < 0:
    os.kill(os.getpid(), -status)
sys.exit(status)
"""


def start() -> Path:
    """The folder of the executables `dipsim` and `python` (which takes `-c CODE` alone); what forks is started unless
    it runs, and ends with the process that called this first."""
    if PLACE not in os.environ:
        folder = Path(os.environ.setdefault(PLACE, tempfile.mkdtemp(prefix="warm-")))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        for what in ("dipsim", "python"):
            client = folder / what
            client.write_text(CLIENT.format(python=sys.executable, address=str(folder / "socket"), what=what))
            client.chmod(0o755)
        with (folder / "log").open("w") as log:
            words = [sys.executable, __file__, str(folder)]
            process = subprocess.Popen(words, env=os.environ | SETTINGS, stdout=log, stderr=log)
        atexit.register(process.wait)
        atexit.register(process.terminate)
    return Path(os.environ[PLACE])


def ready() -> Path:
    """`start`, once it answers."""
    folder, deadline = start(), time.monotonic() + 600
    while not (folder / "ready").exists():
        assert not (folder / "failed").exists(), (folder / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return folder


def warm_up() -> None:
    """Loads what commands load late, by doing a little of everything."""
    import distributed  # noqa: F401
    import transformers.models.llama.modeling_llama  # noqa: F401

    from dipsim import HardwareProfile, Simulation, Trace, plots, sweep, tune  # noqa: F401
    from dipsim.cli import terminal
    from dipsim.evaluation import evaluate  # noqa: F401
    from dipsim.methods import make

    terminal.FIRST_LINE_S = 3600.0  # how slow the machine is, is no matter of theirs
    profile, trace = HardwareProfile.load("oneplus-12-ufs4"), Trace.open("tiny")
    for method in ("dip", "dip-ca"):
        Simulation(profile, trace, make(method, density=0.4), "lfu", dram="0.8x", tokens=8).run()


def serve(folder: Path) -> None:
    """Forks for each request, until its parent is gone."""
    parent, n_begun = os.getppid(), 0
    warm_up()
    assert len([*Path("/proc/self/task").iterdir()]) == 1, "a fork of threads that hold locks would wait for ever"
    gc.freeze()  # or each child would touch, and so copy, all of it
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen(16)
        listener.settimeout(1)
        (folder / "ready").touch()
        while os.getppid() == parent:
            try:
                request, _ = listener.accept()
            except TimeoutError:
                continue
            while n_begun and os.waitpid(-1, os.WNOHANG)[0]:
                n_begun -= 1
            if os.fork() == 0:
                listener.close()
                try:
                    os._exit(answer(request))
                finally:
                    os._exit(1)
            request.close()
            n_begun += 1


def answer(request: socket.socket) -> int:
    """Carries out one request in a process of its own and tells how it ended."""
    request.settimeout(None)
    _, streams, _, _ = socket.recv_fds(request, 1, 3)
    text = request.makefile("rb").readline()
    child = os.fork()
    if child == 0:
        request.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - those of the parent know its own files
        sys.stderr = open(2, "w", 1, errors="backslashreplace", closefd=False)  # noqa: SIM115
        os._exit(carry_out(*json.loads(text)))
    for stream in streams:
        os.close(stream)
    ended, _, _ = select.select([os.pidfd_open(child), request], [], [])
    if request in ended:  # who asked is gone
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    request.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    return 0


def carry_out(what: str, words: list[str], folder: str, environment: dict[str, str]) -> int:
    """The exit code of a command, with what Python does at its end."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    try:
        run(what, words)
        code: Any = 0
    except SystemExit as left:
        code = left.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code or 0)


def run(what: str, words: list[str]) -> None:
    if what == "dipsim":
        from dipsim.cli import main

        sys.argv = ["dipsim", *words]
        main()
        return
    option, code = words
    assert option == "-c"
    sys.argv = ["-c"]
    sys.modules["__main__"] = own = ModuleType("__main__")
    exec(compile(code, "<string>", "exec"), own.__dict__)


if __name__ == "__main__":
    from dipsim.threads import limited

    try:
        with limited(1):
            serve(Path(sys.argv[1]))
    except BaseException:
        (Path(sys.argv[1]) / "failed").touch()
        raise
    shutil.rmtree(sys.argv[1], ignore_errors=True)
