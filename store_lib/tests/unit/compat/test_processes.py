"""The surface in processes of every make: native threads, eventlet, forks."""

import hashlib
import io
import subprocess
import sys
import threading

import store_lib.compat as glance_store
from store_lib.tests.support import in_child, payload

DATA = payload(3_000_000, 5)
MULTIHASH = hashlib.sha512(DATA).hexdigest()


def test_many_native_threads(two):
    failures, barrier = [], threading.Barrier(12)

    def work(number):
        try:
            barrier.wait(60)
            uri, size, _, multihash, _ = glance_store.add_with_multihash(
                two, f"image-{number}", io.BytesIO(DATA), 0 if number % 2 else len(DATA), "fast", "sha512"
            )
            assert (size, multihash) == (len(DATA), MULTIHASH)
            assert b"".join(glance_store.get(uri, "fast")[0]) == DATA
            if number % 3 == 0:
                glance_store.create_multi_stores(two)
            glance_store.delete(uri, "fast")
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert failures == []


def test_a_forked_worker(two):
    uri = glance_store.add(two, "one", io.BytesIO(DATA), 0, "fast")[0]
    reading, _ = glance_store.get(uri, "fast")
    next(reading)

    def worker():
        told = glance_store.add_with_multihash(two, "two", io.BytesIO(DATA), 0, "fast", "sha512")
        return [told[3], len(b"".join(glance_store.get(uri, "fast")[0]))]

    assert in_child(worker) == [MULTIHASH, len(DATA)]
    assert glance_store.get_size_from_uri_and_backend(uri.replace("one", "two"), "fast") == len(DATA)
    reading.close()


GREEN = """
import eventlet
eventlet.monkey_patch()
import hashlib, io, sys, threading
from store_lib.compat import install
install()
import glance_store
from oslo_config import cfg

conf = cfg.CONF
conf([], project="service", default_config_files=[], default_config_dirs=[])
conf.register_opts([cfg.DictOpt("enabled_backends")])
conf.set_override("enabled_backends", {"fast": "file", "cheap": "file"})
glance_store.register_store_opts(conf)
conf.set_override("default_backend", "fast", "glance_store")
for name in ("fast", "cheap"):
    conf.set_override("filesystem_store_datadir", sys.argv[1] + "/" + name, name)
glance_store.create_multi_stores(conf)
glance_store.verify_store()
data = bytes(range(256)) * 40000
turns = 0
stop = False

def others():
    global turns
    while not stop:
        turns += 1
        eventlet.sleep(0)

class Slow(io.BytesIO):
    def read(self, size=-1):
        eventlet.sleep(0)
        return super().read(min(size, 65536))

def work(number):
    uri, size, checksum, multihash, metadata = glance_store.add_with_multihash(
        conf, "image-%d" % number, Slow(data), 0, "cheap" if number % 2 else None, "sha512")
    assert multihash == hashlib.sha512(data).hexdigest()
    assert b"".join(glance_store.get(uri, metadata["store"])[0]) == data
    glance_store.delete(uri, metadata["store"])
    return 1

pool = eventlet.GreenPool(30)
pool.spawn_n(others)
workers = [pool.spawn(work, number) for number in range(20)]
done = sum(worker.wait() for worker in workers)
stop = True
native = threading._shutdown and [t for t in sys._current_frames()]
print(done, turns > 100, len(native))
"""


def test_a_process_patched_by_eventlet(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GREEN, tmp_path], capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["20", "True", "1"]
    assert list((tmp_path / "fast").iterdir()) == list((tmp_path / "cheap").iterdir()) == []
