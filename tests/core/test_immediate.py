"""Immediates: what keeps the loop alive, and what runs."""

from __future__ import annotations

import pytest

from pyuvnet import clear_immediate, run, set_immediate


def fail(error):
    raise error


def test_immediate_that_is_closed_does_not_run(trace):
    kept = set_immediate(trace, "kept")
    gone = set_immediate(trace, "gone")
    gone.close()
    clear_immediate(set_immediate(trace, "gone too"))
    assert kept.has_ref()
    assert not gone.has_ref()
    run()
    assert trace == ["kept"]
    kept.close()
    clear_immediate(kept)
    clear_immediate(None)


def test_immediate_closed_by_the_one_before_it_does_not_run(trace):
    set_immediate(lambda: (trace("first"), second.close()))
    second = set_immediate(trace, "second")
    set_immediate(trace, "third")
    run()
    assert trace == ["first", "third"]


def test_unreferenced_immediate_does_not_keep_the_loop_alive(loop, trace):
    immediate = set_immediate(trace, "unref")
    assert immediate.unref() is immediate
    assert not immediate.has_ref()
    assert not loop.alive()
    run()
    assert trace == []
    assert immediate.ref() is immediate
    run()
    assert trace == ["unref"]


def test_unreferenced_immediate_runs_in_a_turn_that_comes(trace):
    set_immediate(trace, "unref").unref()
    set_immediate(trace, "ref")
    run()
    assert trace == ["unref", "ref"]


def test_ref_after_the_immediate_has_run_does_not_keep_the_loop_alive(loop):
    immediate = set_immediate(lambda: None)
    run()
    immediate.ref()
    assert not immediate.has_ref()
    assert not loop.alive()


def test_ref_inside_its_own_callback_has_no_effect(loop, trace):
    immediate = set_immediate(lambda: (trace(immediate.has_ref()), immediate.ref()))
    run()
    assert trace == [False]
    assert not loop.alive()


def test_immediates_after_a_failing_one_are_not_lost(trace):
    set_immediate(fail, ValueError("first"))
    set_immediate(trace, "second")
    set_immediate(fail, KeyError("third"))
    set_immediate(trace, "fourth")
    with pytest.raises(ValueError, match="first"):
        run()
    with pytest.raises(KeyError):
        run()
    assert trace == ["second"]
    run()
    assert trace == ["second", "fourth"]
