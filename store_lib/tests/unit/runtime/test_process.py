"""What belongs to one process."""

import os
import threading
import time

import pytest

from store_lib.runtime import PerProcess, PerThread, is_alive, new_owner, on_fork, same_machine
from store_lib.tests.support import Child, in_child, until


class Handle:
    """A connection that remembers who made and who closed it."""

    def __init__(self):
        self.pid = os.getpid()
        self.closed = 0


def close(handle):
    handle.closed += 1


def test_a_value_is_made_at_first_use_and_once():
    made = []

    def factory():
        made.append(1)
        time.sleep(0.05)
        return Handle()

    holder = PerProcess(factory, close)
    assert made == []
    found = []
    threads = [threading.Thread(target=lambda: found.append(holder.get())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(set(map(id, found))) == 1


def test_a_factory_that_fails_is_asked_again():
    answers = [OSError("no"), Handle()]

    def factory():
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    holder = PerProcess(factory, close)
    with pytest.raises(OSError, match="no"):
        holder.get()
    assert isinstance(holder.get(), Handle)


def test_a_broken_value_is_replaced_by_the_first_who_notices():
    holder = PerProcess(Handle, close)
    old = holder.get()
    holder.discard(old)
    new = holder.get()
    assert new is not old
    assert old.closed == 1
    holder.discard(old)
    assert holder.get() is new
    assert (old.closed, new.closed) == (1, 0)


def test_close_closes_once():
    holder = PerProcess(Handle, close)
    holder.close()
    value = holder.get()
    holder.close()
    holder.close()
    assert value.closed == 1


def test_a_child_makes_its_own_and_leaves_the_parents_alone():
    holder = PerProcess(Handle, close)
    mine = holder.get()

    def child():
        theirs = holder.get()
        holder.close()
        return [theirs is mine, theirs.pid == os.getpid(), mine.closed]

    assert in_child(child) == [False, True, 0]
    assert holder.get() is mine


def test_a_child_lets_go_of_what_it_inherited_once():
    forgotten: list[Handle] = []
    holder = PerProcess(Handle, close, forgotten.append)
    holder.get()

    def grandchild():
        return len(forgotten)

    def child():
        return [len(forgotten), in_child(grandchild)]

    assert in_child(child) == [1, 1]
    assert forgotten == []


def test_a_fork_while_a_value_is_made_does_not_hang_the_child():
    began, go = threading.Event(), threading.Event()

    def factory():
        began.set()
        go.wait(10)
        return Handle()

    holder = PerProcess(factory, close)
    thread = threading.Thread(target=holder.get)
    thread.start()
    began.wait(10)

    def child():
        go.set()
        return holder.get().pid == os.getpid()

    assert in_child(child)
    go.set()
    thread.join()


def test_each_thread_has_its_own_value():
    holder = PerThread(Handle)
    mine = holder.get()
    assert holder.get() is mine
    others = []
    thread = threading.Thread(target=lambda: others.append(holder.get()))
    thread.start()
    thread.join()
    assert others[0] is not mine
    assert in_child(lambda: holder.get().pid == os.getpid())
    assert holder.get() is mine


def test_what_is_told_of_forks_may_go():
    class Thing:
        told = 0

        def after_fork(self):
            Thing.told += 1

    thing = Thing()
    on_fork(thing)
    assert in_child(lambda: Thing.told) == 1
    assert Thing.told == 0
    del thing
    assert in_child(lambda: Thing.told) == 0


def test_every_transfer_has_an_owner_of_its_own():
    one, two = new_owner(), new_owner()
    assert one.upload != two.upload
    assert (one.pid, one.started, one.boot) == (two.pid, two.started, two.boot)
    assert one.pid == os.getpid()
    assert same_machine(one)
    assert is_alive(one)


def test_a_childs_owner_is_another_and_dead_once_it_has_ended():
    with Child(lambda: [new_owner().pid == os.getpid(), new_owner().encode()]) as child:
        right, text = child.result()
    assert right
    owner = type(new_owner()).decode(text)
    assert owner is not None
    assert same_machine(owner)
    assert not is_alive(owner)


def test_a_zombie_is_dead():
    pid = os.fork()
    if not pid:
        os._exit(0)
    try:
        owner = type(new_owner())("0" * 32, "", "", 0, pid, 0)
        stat = f"/proc/{pid}/stat"

        def is_zombie():
            with open(stat) as file:
                return file.read().rpartition(")")[2].split()[0] == "Z"

        until(is_zombie)
        with open(stat) as file:
            started = int(file.read().rpartition(")")[2].split()[19])
        assert not is_alive(type(owner)("0" * 32, "", "", 0, pid, started))
    finally:
        os.waitpid(pid, 0)
