"""examples/allow_deny.py"""

from __future__ import annotations

import sys

import pytest

many_addresses = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 without setting it up"
)


def start(example, *arguments):
    server = example("allow_deny", "--port", 0, "--host", "127.0.0.1", *arguments)
    return server, server.port()


def test_without_rules_everybody_comes_in(example, peer):
    _, port = start(example)
    assert peer(port).rest() == b"welcome\n"


@pytest.mark.spec("N103")
@pytest.mark.parametrize("rule", ["127.0.0.1", "127.0.0.0/8", "::ffff:127.0.0.1"])
def test_denied_peers_hear_nothing(example, peer, rule):
    server, port = start(example, "--deny", "10.0.0.0/8", rule)
    assert peer(port).rest() == b""
    assert "127.0.0.1" not in server.stop()


def test_a_list_of_who_may_come_in(example, peer):
    server, port = start(example, "--allow", "10.0.0.0/8", "::1")
    assert peer(port).rest() == b"you are not on the list\n"
    assert server.line() == "127.0.0.1 is not on the list"
    server, port = start(example, "--allow", "10.0.0.0/8", "127.0.0.0/30")
    assert peer(port).rest() == b"welcome\n"
    assert server.line() == "127.0.0.1 connected"


@many_addresses
def test_each_peer_by_its_own_address(example, peer):
    rules = ["--allow", "127.0.0.0/29", "--deny", "127.0.0.2", "127.0.0.4/31"]
    _, port = start(example, *rules)
    heard = {last: peer(port, f"127.0.0.{last}").rest() for last in (1, 2, 3, 4, 5, 6, 9)}
    assert heard == {
        1: b"welcome\n",
        2: b"",
        3: b"welcome\n",
        4: b"",
        5: b"",
        6: b"welcome\n",
        9: b"you are not on the list\n",
    }


def test_ipv4_rules_hold_for_peers_of_a_dual_stack_server(example, peer):
    server = example("allow_deny", "--port", 0, "--deny", "127.0.0.1")
    assert peer(server.port()).rest() == b""


@pytest.mark.parametrize("rule", ["300.1.1.1", "10.0.0.0/33", "example.com", ""])
def test_a_bad_rule_is_a_message_and_no_traceback(example, rule):
    code, out, err = example("allow_deny", "--port", 0, "--deny", rule).wait()
    assert (code, out) == (2, "")
    assert "error: a rule is not an address or network: " in err
    assert "Traceback" not in err
