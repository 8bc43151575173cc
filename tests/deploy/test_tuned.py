"""The tuned profile, the sysctl file and the boot snippet, against what doctor asks for."""

from __future__ import annotations

import configparser
import subprocess

from byteord.deployment.topology import Cpu, Topology
from byteord.doctor.model import Asked
from byteord.doctor.registry import CHECKS
from tests.support.tree import TOP

TUNED = TOP / "deploy" / "tuned"
ASKED = Asked(
    profile="isolated-core",
    cpus=(2, 3),
    topology=Topology(cpus=tuple(Cpu(cpu, cpu, 0, 0) for cpu in range(4))),
)
NEEDS_THOUGHT = {
    "kernel.sched_rt_runtime_us", "kernel.perf_event_paranoid", "vm.nr_hugepages",
    "net.ipv4.conf.all.rp_filter",
}  # fmt: skip
"""Keys that not every host of byteor wants."""


def _wanted(kind: str) -> dict[str, str]:
    return {
        remedy.name: remedy.value
        for check in CHECKS
        for remedy in check.remedies(ASKED)
        if remedy.kind == kind
    }


def _ini(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((TUNED / name).read_text())
    return parser


def test_the_sysctl_file_is_what_doctor_wants() -> None:
    """Every key that doctor would set is in the file with its value, and no other."""
    lines = (TUNED / "60-byteor.conf").read_text().splitlines()
    found = dict(line.split(" = ") for line in lines if line and not line.startswith("#"))
    wanted = {key: value for key, value in _wanted("sysctl").items() if key not in NEEDS_THOUGHT}
    assert found == wanted


def test_the_tuned_profile_sets_nothing_else() -> None:
    """Its sysctl keys are doctor's, with the same values; it builds on a profile of tuned's."""
    profile = _ini("tuned.conf")
    wanted = _wanted("sysctl")
    assert profile["main"]["include"] == "latency-performance"
    for key, value in profile["sysctl"].items():
        assert wanted[key] == value
    assert profile["sysfs"]["/sys/kernel/mm/ksm/run"] == "0"


def test_boot_arguments_are_doctor_s() -> None:
    """The words of the boot snippet are those that doctor asks for with workers on CPUs 2 and 3."""
    script = f'. {TUNED / "byteor-boot.cfg"}; echo "$GRUB_CMDLINE_LINUX_DEFAULT"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    wanted = _wanted("cmdline")
    words = dict(word.split("=", 1) for word in done.stdout.split())
    assert words
    for name, value in words.items():
        assert wanted[name] == value
