"""BlockList without memory, at each allocation in turn, and in a hundred forked children."""

import os
import subprocess
import sys
import textwrap

import pytest

from pyuvnet._core.blocklist import BlockList
from pyuvnet._core.socketaddress import SocketAddress


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this platform")
def test_a_child_of_fork_changes_its_list_though_a_reader_of_the_parent_is_not_there():
    """The lock may be held for reading by a thread that the child does not have."""
    program = """
        import os, threading
        from pyuvnet._core.blocklist import BlockList

        block_list = BlockList.load(["10.0.0.0/8"])
        done = threading.Event()

        def read():
            while not done.is_set():
                for _ in range(1000):
                    block_list._blocks("10.1.1.1")

        for _ in range(2):
            threading.Thread(target=read).start()
        statuses = []
        for _ in range(100):
            child = os.fork()
            if child == 0:
                block_list.add_address("1.1.1.1")
                os._exit(0 if block_list._blocks("1.1.1.1") else 1)
            statuses.append(os.waitpid(child, 0)[1])
        done.set()
        assert not any(statuses), statuses
        assert not block_list.check("1.1.1.1")
    """
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)]
    subprocess.run(command, check=True, timeout=25)


# No memory


def no_memory_for(call):
    """Call again and again, each time with one more allocation that succeeds before all fail."""
    testcapi = pytest.importorskip("_testcapi")
    for allocations in range(10000):
        testcapi.set_nomemory(allocations)
        try:
            call()
            return
        except MemoryError:
            pass
        finally:
            testcapi.remove_mem_hooks()
        yield


@pytest.mark.parametrize("change", ["add", "few", "many", "first", "remove", "both families"])
def test_without_memory_a_change_raises_and_changes_nothing(change):
    block_list = BlockList()
    if change != "first":
        block_list.load([f"10.{at >> 8}.{at & 255}.0/25" for at in range(4000)])
        block_list.load([f"2001:{at:x}::/33" for at in range(4000)])
    if change == "remove":
        # What is taken out must be where leaves are full, and leave a point that was not there.
        block_list.load([f"10.{at >> 8}.{at & 255}.128/25" for at in range(0, 4000, 2)])
    # Crowded, so that leaves must be split for them.
    new = [f"10.{at >> 8}.{at & 255}.{at % 100 + 130}" for at in range(4000) if at % 1000 < 25]
    calls = {
        "add": lambda: block_list.add_range("10.3.3.3", "10.9.9.9"),
        "few": lambda: block_list.add_addresses(new),
        "many": lambda: block_list.add_addresses(new * 3),
        "first": lambda: block_list.add_address("1.2.3.4"),
        "remove": lambda: block_list.remove_cidr("10.3.4.128/25"),
        "both families": lambda: block_list.add_range(
            SocketAddress(address="10.3.3.3"), SocketAddress(address="2001:5::", family="ipv6")
        ),
    }
    names = [f"10.{at >> 8}.{at & 255}.{end}" for at in range(4000) for end in (3, 131)]
    names += [f"2001:{at:x}:{half}::" for at in range(0, 4000, 7) for half in (0, 8000)]
    names += new
    expected = [block_list._blocks(name) for name in names]
    rules_ = block_list.rules
    failed = 0
    for _ in no_memory_for(calls[change]):
        failed += 1
        assert block_list.rules == rules_
        assert [block_list._blocks(name) for name in names] == expected
    assert failed
    assert block_list.rules != rules_
