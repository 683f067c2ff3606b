"""Link-local addresses and their zones are the same on Node's net and on pyuvnet.

Both programs run in one network namespace of their own, with two interfaces at one cable.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import play

HERE = Path(__file__).resolve().parent
FIRST, SECOND = "near0", "far0"

NAMESPACE = """
ip link set lo up
ip link add near0 type veth peer name far0
for name in near0 far0; do ip link set $name addrgenmode none; ip link set $name up; done
ip address add fe80::1/64 dev near0 nodad
ip address add fe80::2/64 dev far0 nodad
echo ready
for program; do eval "$program"; done
"""


@pytest.fixture(scope="module")
def told() -> list[dict[str, Any]]:
    """What each program tells: Node's first, if there is a new one, then ours."""
    if sys.platform != "linux":
        pytest.skip("network namespaces are Linux's")
    missing = [name for name in ("unshare", "ip") if not shutil.which(name)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    programs = [f"'{sys.executable}' '{HERE / 'link_local.py'}' {FIRST} {SECOND}"]
    if play.NODE is not None and play.node_version() >= 26:
        programs.insert(0, f"'{play.NODE}' '{HERE / 'link_local.js'}' {FIRST} {SECOND}")
    done = subprocess.run(
        ["unshare", "--map-root-user", "--net", "sh", "-eu", "-c", NAMESPACE, "sh", *programs],
        capture_output=True,
        text=True,
        env=dict(os.environ, PYTHONPATH=str(HERE.parent.parent)),
    )
    ready, *lines = done.stdout.splitlines() or [""]
    if ready != "ready":
        pytest.skip(f"no namespace with two interfaces here: {done.stderr.strip()}")
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in lines]


def test_zones_are_what_they_are_on_node(told: list[dict[str, Any]]) -> None:
    if len(told) == 1:
        pytest.skip("Node is not installed, or older than the behaviour")
    theirs, ours = told
    assert ours == theirs


def test_the_names_of_link_local_peers_have_their_zone(told: list[dict[str, Any]]) -> None:
    ours = told[-1]
    near, far = f"fe80::1%{FIRST}", f"fe80::2%{SECOND}"
    assert ours["here"] == {
        "address": [near, "IPv6"],
        "attempt": [near, 6],
        "accepted": [near, "IPv6", near],
        "acceptedAddress": [near, "IPv6"],
        "connected": [near, "IPv6", near],
        "connectedAddress": [near, "IPv6"],
        "kept": near,
    }
    assert ours["any"]["accepted"] == [far, "IPv6", far]
    # Every other address means the same without a zone.
    assert ours["loopback"]["accepted"] == ["::1", "IPv6", "::1"]


def test_block_lists_judge_the_address_without_its_zone(told: list[dict[str, Any]]) -> None:
    ours = told[-1]
    assert ours["checks"] == [True, True, True, False]
    assert ours["blocked"]["error"][0] == "ERR_IP_BLOCKED"
    assert "connected" not in ours["blocked"]
