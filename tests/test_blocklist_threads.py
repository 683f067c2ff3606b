"""A BlockList that one thread changes while others read it."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyuvnet.net import BlockList

HOSTS = [f"10.0.0.{host}" for host in range(8)]
CIDRS = ["10.0.0.0/29", "10.0.0.0/30", "10.0.0.4/30", "10.0.0.2/31", "10.0.0.6/31", "10.0.0.5/32"]

CHANGES = st.one_of(
    st.tuples(st.just("add_cidr"), st.sampled_from(CIDRS)),
    st.tuples(st.just("remove_cidr"), st.sampled_from(CIDRS)),
    st.tuples(st.just("add_cidrs"), st.lists(st.sampled_from(CIDRS), max_size=3)),
    st.tuples(st.just("clear")),
)


def seen(block_list: BlockList) -> tuple[bool, ...]:
    return tuple(block_list.check(host) for host in HOSTS)


@pytest.mark.slow
@settings(max_examples=60)
@given(changes=st.lists(CHANGES, min_size=1, max_size=12))
def test_readers_see_a_list_as_it_was_after_some_change(changes: list) -> None:
    """The rules that a reader sees are those after one of the changes, all of them, in order."""
    block_list = BlockList()
    states: list[tuple[str, ...]] = [()]
    model = BlockList()
    for name, *arguments in changes:
        getattr(model, name)(*arguments)
        states.append(tuple(model.rules))
    answers = set()
    for rules in states:
        one = BlockList()
        one.from_json(list(rules))
        answers.add(seen(one))
    begin = threading.Barrier(3)
    over = threading.Event()
    read: list[list[tuple[str, ...]]] = [[], []]
    single: set[tuple[str, bool]] = set()

    def reader(index: int) -> None:
        begin.wait(20)
        while True:
            last = over.is_set()
            read[index].append(tuple(block_list.rules))
            for host in HOSTS:
                single.add((host, block_list.check(host)))
            if last:
                return

    threads = [threading.Thread(target=reader, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    begin.wait(20)
    for name, *arguments in changes:
        getattr(block_list, name)(*arguments)
    over.set()
    for thread in threads:
        thread.join(20)
    for one in read:
        at = 0
        for rules in one:
            # Later than, or the same as, what this reader saw before.
            at = states.index(rules, at)
        assert one[-1] == states[-1]
    # No check has an answer that no state of the list has.
    possible = {(host, each) for state in answers for host, each in zip(HOSTS, state, strict=True)}
    assert single <= possible
