"""A few random scripts of a socket's methods leave the same traces on Node and on pyuvnet.

random_scripts.py plays many more, and makes short what differs; scenarios/found.py has what it
found.
"""

from __future__ import annotations

import random
import sys

import pytest

from tests.differential import random_scripts
from tests.support import play

SINCE = 26  # the Node that random_scripts.py knows the deviations from
SCRIPTS = 150

pytestmark = [
    pytest.mark.skipif(play.NODE is None, reason="Node is not installed"),
    pytest.mark.skipif(sys.platform != "linux", reason="what its loopback does at once"),
]


def test_random_scripts_are_the_same() -> None:
    if play.node_version() < SINCE:
        pytest.skip("this Node is older than the behaviour")
    scripts = [random_scripts.generate(random.Random(f"test {n}")) for n in range(SCRIPTS)]
    pairs = random_scripts.play_both(scripts)
    differ = [
        script
        for script, (theirs, ours) in zip(scripts, pairs, strict=True)
        if not random_scripts.same(theirs, ours)
    ]
    differ = random_scripts.differ_for_good(differ)
    assert not differ, random_scripts.explain(random_scripts.shrink(differ[:1])[0])


def test_a_difference_is_seen_and_made_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail: without a deviation that it knows, it shows just that."""
    if play.node_version() < SINCE:
        pytest.skip("this Node is older than the behaviour")
    monkeypatch.delitem(random_scripts.DEVIATIONS, "connect_when_connected")
    made = {
        "peer": "greet",
        "late": 1,
        "options": {"allow_half_open": True},
        "connects": True,
        "silent": ["end"],
        "hear": [],
        "state": True,
        "steps": [
            ("before", random_scripts.call("c", "pause")),
            ("connect+tick", random_scripts.call("c", "write", "x")),
            ("connect+immediate", random_scripts.connecting()),
            ("close", random_scripts.call("c", "read")),
        ],
    }
    (least,) = random_scripts.shrink(random_scripts.differ_for_good([made], times=2))
    assert [(moment, action[2]) for moment, action in least["steps"]] == [("connect", "connect")]
    assert least["peer"] == "hang"
    assert "EISCONN" in random_scripts.explain(least)


@pytest.mark.parametrize("name", list(random_scripts.DEVIATIONS))
def test_what_is_the_same_is_no_deviation(name: str) -> None:
    """A rule that excuses a difference sees only differences, and explains itself."""
    assert random_scripts.DEVIATIONS[name].__doc__
    assert random_scripts.compare(["c connect"], ["c connect"]) == (
        ["c connect"],
        ["c connect"],
        [],
    )
