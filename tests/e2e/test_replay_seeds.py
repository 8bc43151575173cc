"""Stages that draw at random and read the clock, in Python and in C: a replay draws the same."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from byteord.regions.captures import write_json
from byteord.stages import include_dir
from tests.support.daemon import DaemonProcess
from tests.support.recording_host import RecordingHost
from tests.support.replayed import replay

MESSAGES = 4_000
SPEC = """
version = 1
name = "drawn"
model = "single_ring"
[ring]
capacity = 256
slot_bytes = 128
{stages}
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
"""
STAGE = """
[[stages]]
name = "{name}"
stage = "{key}"
depends_on = {after}
mutates = "all"
resizes = true
drops = true
deterministic = true
effects = []
"""
CODE = '''
class Draw:
    """Let half of the messages through, with a number behind them."""
    def __init__(self, ctx):
        assert ctx.seed == ctx.seed and 0 <= ctx.seed < 1 << 64
        self.random = ctx.random
    def process(self, batch):
        for index, payload in enumerate(batch):
            if self.random.random() < 0.5:
                batch.drop(index)
            else:
                batch.replace(index, bytes(payload) + b" %06d" % self.random.randrange(10**6))

class Restarted:
    def __init__(self, ctx):
        ctx.random
    def process(self, batch):
        pass
'''
LIBRARY = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "byteor_stage.h"

typedef struct { uint64_t drawn; } draw;

static void *create(const byteor_config *config, char *error, size_t error_bytes) {
    draw *d = calloc(1, sizeof *d);
    if (d == NULL) snprintf(error, error_bytes, "no memory");
    else d->drawn = byteor_seed(config) | 1u;
    return d;
}

/* Behind each message a number, and with `CLOCK` the clock and the size of the batch. */
static int process(void *self, byteor_batch *batch) {
    draw *d = self;
    for (uint32_t i = 0; i < batch->count; i++) {
        byteor_slot *slot = byteor_slot_at(batch, i);
        if (!byteor_live(slot)) continue;
        d->drawn ^= d->drawn << 13, d->drawn ^= d->drawn >> 7, d->drawn ^= d->drawn << 17;
        char text[64];
        int n = snprintf(text, sizeof text, " %06u", (unsigned)(d->drawn % 1000000u));
        unsigned long long now = batch->now_ns;
        size_t rest = sizeof text - (size_t)n;
        if (CLOCK) n += snprintf(text + n, rest, " %llu/%u", now, batch->count);
        memcpy(byteor_payload(slot) + slot->length, text, (size_t)n);
        slot->length = (uint16_t)(slot->length + n);
    }
    return BYTEOR_STAGE_OK;
}

const byteor_stage_vtable made = {
    .abi = BYTEOR_STAGE_ABI, .struct_bytes = sizeof(byteor_stage_vtable), .name = "made",
    .flags = BYTEOR_STAGE_MUTATES | BYTEOR_STAGE_RESIZES,
    .create = create, .process = process, .destroy = free,
};
"""


def spec(*keys: str) -> str:
    """Return a spec with these stages, one behind the other."""
    stages = [
        STAGE.format(name=f"s{at}", key=key, after=[at - 1] if at else [])
        for at, key in enumerate(keys)
    ]
    return SPEC.format(stages="".join(stages))


PYTHON, C, CLOCKED = "python:drawn:Draw", "cabi:libdrawn.so:made", "cabi:libclocked.so:made"


@pytest.fixture(scope="module")
def host() -> Iterator[RecordingHost]:
    """Provide the directories, and two libraries."""
    with tempfile.TemporaryDirectory(prefix="byteor-t-", dir="/tmp") as place:
        made = RecordingHost(Path(place), {"drawn.py": CODE, "drawn.c": LIBRARY}, MESSAGES)
        for name, clock in (("drawn", 0), ("clocked", 1)):
            command = ["cc", "-std=c11", "-O1", "-Wall", "-Werror", "-shared", "-fPIC"]
            command += [f"-DCLOCK={clock}", f"-I{include_dir()}", "drawn.c", "-o", f"lib{name}.so"]
            subprocess.run(command, check=True, timeout=60, cwd=made.top / "code")
        yield made


@pytest.fixture(scope="module")
def daemon(host: RecordingHost) -> Iterator[DaemonProcess]:
    """Provide a daemon that may use them."""
    with host.daemon() as started:
        yield started


def changed(capture: Path, seed: int | None) -> Path:
    """Return a copy of a capture that says it had another seed."""
    copy = capture.parent.parent / "changed"
    shutil.copytree(capture, copy)
    about = json.loads((copy / "capture.json").read_text())
    about["conditions"]["seed"] = seed
    write_json(copy / "capture.json", about)
    return copy


@pytest.mark.timeout(60)
@pytest.mark.parametrize("keys", [(PYTHON,), (C,), (CLOCKED, PYTHON)], ids=["python", "c", "clock"])
def test_a_replay_draws_what_the_run_drew(
    host: RecordingHost, daemon: DaemonProcess, keys: tuple[str, ...]
) -> None:
    """Equal digests; with another seed others, with none nothing that could be compared."""
    capture = host.record(daemon, spec(*keys))
    first = host.output.read_bytes()
    lines = first.splitlines()
    assert 0 < len(lines) <= MESSAGES
    assert (len(lines) < MESSAGES) == (PYTHON in keys)
    code, result, said = replay(daemon.address, capture)
    assert (code, result["verdict"], result["reasons"]) == (0, "equal", []), (said, result)
    about = json.loads((capture / "capture.json").read_text())
    other = changed(capture, about["conditions"]["seed"] ^ 1)
    code, result, said = replay(daemon.address, other)
    shutil.rmtree(other)
    assert (code, result["verdict"]) == (1, "different"), (said, result)
    other = changed(capture, None)
    code, result, said = replay(daemon.address, other)
    shutil.rmtree(other)
    assert (code, result["verdict"]) == (0, "not_comparable"), (said, result)
    assert {each["code"] for each in result["reasons"]} == {"seed_not_replayed"}, result
    host.record(daemon, spec(*keys))
    assert host.output.read_bytes() != first, "another run, another seed"


@pytest.mark.timeout(60)
def test_a_deployment_may_fix_the_seed(host: RecordingHost, daemon: DaemonProcess) -> None:
    """The same seed, the same output; another for each stage; it stands in capture and audit."""
    outputs, captures = [], []
    for seed in (7, 7, 8):
        captures.append(host.record(daemon, spec(C, C), "--set", f"seed={seed}"))
        outputs.append(host.output.read_bytes())
    assert outputs[0] == outputs[1] != outputs[2]
    assert all(len(set(line.split()[1:])) == 2 for line in outputs[0].splitlines()[:100])
    audit = host.top / "audit.json"
    code, result, said = replay(daemon.address, captures[-1], "--audit", audit)
    assert (code, result["verdict"]) == (0, "equal"), (said, result)
    assert json.loads(audit.read_text())["input"]["seed"] == 8


def test_a_generator_is_private(host: RecordingHost, daemon: DaemonProcess) -> None:
    """A stage that may be restarted is told why it has none."""
    text = spec("python:drawn:Restarted").replace(
        "effects = []", 'effects = []\nstate = "stateless"'
    )
    with pytest.raises(AssertionError, match=r"ctx\.random has a state of its own"):
        host.record(daemon, text)
