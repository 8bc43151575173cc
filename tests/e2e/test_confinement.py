"""Stages that are declared effect-free and try to have effects all the same: all are stopped."""

from __future__ import annotations

import json
import os
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest

from byteord._cext.confine import has_seccomp, landlock_abi
from byteord.deployment.model import Environment
from byteord.deployment.plan import RunPlan
from byteord.errors import DeniedError
from byteord.runs.code import code_digests
from byteord.runs.describe import confinement_of
from byteord.spec.model import Stage
from byteord.stages import include_dir
from tests.support.run import make_test_plan, run_to_end, running, spec_text

pytestmark = pytest.mark.skipif(
    not has_seccomp() or landlock_abi() < 2,
    reason="this kernel has no seccomp filters or no Landlock to confine with",
)

INTRUDER = """
import ctypes, os, socket, subprocess, tempfile, threading

def _ptrace():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, os.getppid(), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")

def _thread():
    thread = threading.Thread(target=len, args=("",))
    thread.start()
    thread.join()

def _write(path):
    with open(path, "w") as file:
        file.write("x")

class Intruder:
    def __init__(self, ctx, outside, vault, rundir):
        self.tries = {
            "socket": lambda: socket.socket(socket.AF_INET),
            "unix": lambda: socket.socketpair(),
            "exec": lambda: os.execv("/bin/true", ["true"]),
            "spawn": lambda: subprocess.run(["/bin/true"]),
            "fork": os.fork,
            "ptrace": _ptrace,
            "signal": lambda: os.kill(os.getppid(), 0),
            "memory": lambda: open(f"/proc/{os.getppid()}/mem", "rb"),
            "write": lambda: _write(outside + "/written"),
            "append": lambda: open(outside + "/there", "a"),
            "truncate": lambda: os.truncate(outside + "/there", 0),
            "chmod": lambda: os.chmod(outside + "/there", 0o777),
            "unlink": lambda: os.unlink(outside + "/there"),
            "link": lambda: os.symlink("/etc/passwd", outside + "/link"),
            "key": lambda: open(vault, "rb").read(),
            "passwd": lambda: open("/etc/passwd", "rb").read(),
            "setuid": lambda: os.setgroups([]),
            "own": lambda: _write(rundir + "/own"),
            "thread": _thread,
            "import": lambda: __import__("decimal"),
        }

    def process(self, batch):
        for index, payload in enumerate(batch):
            name = bytes(payload).decode()
            try:
                self.tries[name]()
                said = "done"
            except OSError as error:
                said = os.strerror(error.errno) if error.errno else str(error)
            batch.replace(index, f"{name}: {said}".encode())
"""
IDLE = """
class Idle:
    def __init__(self, ctx):
        pass

    def process(self, batch):
        pass
"""
ALLOWED = {"own", "thread", "import"}
TRIES = [
    "socket", "unix", "exec", "spawn", "fork", "ptrace", "signal", "memory", "write", "append",
    "truncate", "chmod", "unlink", "link", "key", "passwd", "setuid", "own", "thread", "import",
]  # fmt: skip
C_STAGE = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "byteor_stage.h"
static char self;
static void *create(const byteor_config *config, char *error, size_t bytes) {
    (void)config; (void)error; (void)bytes;
    return &self;
}
static int process(void *me, byteor_batch *batch) {
    (void)me;
    for (uint32_t i = 0; i < batch->count; i++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        char text[32];
        int opened = socket(AF_INET, SOCK_STREAM, 0);
        int executed = execl("/bin/true", "true", (char *)0);
        int bytes = snprintf(text, sizeof text, "socket %d exec %d", opened, executed);
        if (!byteor_live(slot)) continue;
        memcpy(byteor_payload(slot), text, (size_t)bytes);
        slot->length = (uint16_t)bytes;
    }
    return BYTEOR_STAGE_OK;
}
const byteor_stage_vtable intruder = {.abi = BYTEOR_STAGE_ABI, .struct_bytes = sizeof intruder,
    .name = "intruder", .flags = BYTEOR_STAGE_MUTATES | BYTEOR_STAGE_RESIZES, .create = create,
    .process = process};
"""
WAYS = {"staging": Environment.STAGING, "dry": Environment.DEV}


def _plan(
    tmp_path: Path, stage: str, config: dict[str, Any], lines: list[str], way: str, **how: Any
) -> RunPlan:
    """Return the plan of one effect-free stage from file to file."""
    (tmp_path / "in.txt").write_text("\n".join(lines) + "\n")
    kind, module, _ = stage.split(":")
    loads = Stage(name="s", stage=f"{kind}:{module}:x")
    digest = code_digests([loads], [str(tmp_path / "code")])["s"]
    values = "".join(f"{key} = {json.dumps(value)}\n" for key, value in config.items())
    spec = spec_text(
        f'[[stages]]\nname = "s"\nstage = "{stage}"\nmutates = "all"\nresizes = true\n'
        f'state = "stateless"\neffects = []\ndigest = "{digest}"\n[stages.config]\n{values}'
    )
    deployment = (
        f'[adapters.in]\nkind = "file"\npath = "{tmp_path}/in.txt"\n'
        f'[adapters.out]\nkind = "file"\npath = "{tmp_path}/out.txt"\nmode = "truncate"\n'
        f"[effects]\ndry_run = {'true' if way == 'dry' else 'false'}\n"
    )
    directories = (str(tmp_path / "code"), str(tmp_path))
    plan = make_test_plan(
        spec, deployment, directories=directories, secrets_dir=str(tmp_path / "secrets"),
        environment=WAYS[way], **how,
    )  # fmt: skip
    return _only_code(plan, str(tmp_path / "code"))


def _only_code(plan: RunPlan, directory: str) -> RunPlan:
    from dataclasses import replace

    return replace(plan, code_dirs=(directory,))


def _prepare(tmp_path: Path) -> dict[str, Any]:
    for name in ("code", "outside", "secrets", "own"):
        (tmp_path / name).mkdir()
    (tmp_path / "outside" / "there").write_text("kept")
    (tmp_path / "secrets" / "key").write_text("secret")
    (tmp_path / "code" / "intruder.py").write_text(INTRUDER)
    return {"outside": str(tmp_path / "outside"), "vault": str(tmp_path / "secrets" / "key")}


@pytest.mark.parametrize("way", WAYS)
def test_every_effect_is_stopped_and_work_goes_on(tmp_path: Path, way: str) -> None:
    """No socket, program, process, neighbour, foreign file or key; threads and imports work."""
    config = {**_prepare(tmp_path), "rundir": "."}
    plan = _plan(tmp_path, "python:intruder:Intruder", config, TRIES, way)
    with running(plan) as run:
        status = run.until_state("completed", "failed")
        read = run.reader.read()
    assert status["state"] == "completed", (status, run)
    assert [role["received"] for role in read["roles"]] == [len(TRIES)] * 3
    assert (tmp_path / "outside" / "there").read_text() == "kept"
    assert sorted(os.listdir(tmp_path / "outside")) == ["there"]
    if way == "dry":
        return
    said = dict(line.split(": ", 1) for line in (tmp_path / "out.txt").read_text().splitlines())
    done = {name for name in TRIES if said[name] == "done"}
    assert done == ALLOWED, said


def test_the_kernel_itself_says_that_the_worker_is_confined(tmp_path: Path) -> None:
    """Status shows what `/proc` says of the worker's process; the others are not confined."""
    _prepare(tmp_path)
    (tmp_path / "code" / "idle.py").write_text(IDLE)
    plan = _with_generator(_plan(tmp_path, "python:idle:Idle", {}, [], "staging"))
    with running(plan) as run:
        assert run.until_state("running", "failed")["state"] == "running", run.log()
        pid = run.worker_pid("s")
        shown = {
            worker.name: confinement_of(plan, worker, run.worker_pid(worker.name))
            for worker in plan.workers
        }
        threads = os.listdir(f"/proc/{pid}/task")
    assert shown["s"] == "no_new_privs, no capabilities, seccomp"
    assert shown["in"] == shown["out"] == ""
    assert len(threads) == 1


def _with_generator(plan: RunPlan) -> RunPlan:
    """Return the plan with an endless, slow source."""
    from dataclasses import replace

    source = replace(
        plan.roles[0], adapter="generator", options={"content": "text", "size": 8, "rate": 1}
    )
    return replace(plan, roles=(source, *plan.roles[1:]))


def test_code_in_c_is_held_to_the_same(tmp_path: Path) -> None:
    """A library's socket and exec fail as a Python stage's do."""
    _prepare(tmp_path)
    source = tmp_path / "intruder.c"
    source.write_text(C_STAGE)
    command = ["cc", "-shared", "-fPIC", f"-I{include_dir()}", str(source), "-o"]
    subprocess.run([*command, str(tmp_path / "code" / "libintruder.so")], check=True, timeout=60)
    plan = _plan(tmp_path, "cabi:libintruder.so:intruder", {}, ["a", "b"], "staging")
    status, _ = run_to_end(plan)
    assert status["state"] == "completed", status
    assert (tmp_path / "out.txt").read_text() == "socket -1 exec -1\n" * 2


def test_a_module_is_confined_before_it_is_imported(tmp_path: Path) -> None:
    """What a module does when it is imported is held back too, and the failure says so."""
    _prepare(tmp_path)
    (tmp_path / "code" / "early.py").write_text(
        textwrap.dedent(f"""
            open({str(tmp_path / "outside" / "early")!r}, "w")
            class Early:
                def __init__(self, ctx): pass
                def process(self, batch): pass
        """)
    )
    status, _ = run_to_end(_plan(tmp_path, "python:early:Early", {}, ["a"], "staging"))
    assert status["state"] == "failed"
    assert "Permission denied" in status["failure"]["message"]
    assert not (tmp_path / "outside" / "early").exists()


def test_confined_and_other_roles_never_share_a_process_outside_dev(tmp_path: Path) -> None:
    """Fusion keeps them apart, the egress gets a worker of its own, and --sp is refused."""
    config = {**_prepare(tmp_path), "rundir": "."}
    plan = _plan(tmp_path, "python:intruder:Intruder", config, ["thread"], "staging")
    assert [worker.name for worker in plan.workers] == ["in", "s", "out"]
    with pytest.raises(DeniedError, match="without --sp"):
        _plan(
            tmp_path, "python:intruder:Intruder", config, ["thread"], "staging",
            single_process=True,
        )  # fmt: skip
