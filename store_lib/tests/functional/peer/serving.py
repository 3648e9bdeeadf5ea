"""Runs in the peer's environment, on glance_store itself: answers requests, one JSON object a line.

``python serving.py CONFIG``; a request is ``[call, argument, ...]``, the answer ``["value", ...]`` or
``["error", class, text]``.
"""

import base64
import io
import json
import sys
import types

import glance_store  # type: ignore[import-not-found,unused-ignore]
from oslo_config import cfg

CONF = cfg.CONF


def add(store, image_id, data, size, project=None):
    found = io.BytesIO(base64.b64decode(data))
    context = types.SimpleNamespace(project_id=project) if project else None
    return glance_store.add_with_multihash(CONF, image_id, found, size, store, "sha512", context=context)


def read(uri, store, offset=0, length=None):
    chunks, _size = glance_store.get(uri, store, offset=offset, chunk_size=length)
    return base64.b64encode(b"".join(chunks)).decode()


def size(uri, store):
    return glance_store.get_size_from_uri_and_backend(uri, store)


def delete(uri, store):
    return glance_store.delete(uri, store)


def rbd_parts(uri):
    """Return what the peer takes a location on Ceph for, and how it writes that."""
    from glance_store._drivers import rbd  # type: ignore[import-not-found,unused-ignore]

    found = rbd.StoreLocation({}, CONF)
    found.parse_uri(uri)
    return [found.fsid, found.pool, found.image, found.snapshot, found.get_uri()]


def work_as_root():
    """Have os-brick start no daemon for what needs root, which this process is."""
    from os_brick.privileged import default  # type: ignore[import-not-found,unused-ignore]

    default.set_client_mode(False)


def version():
    import importlib.metadata

    return [glance_store.__name__, importlib.metadata.version("glance_store")]


CALLS = {each.__name__: each for each in (add, read, size, delete, rbd_parts, work_as_root, version)}


def main(path):
    CONF.register_opts([cfg.DictOpt("enabled_backends")])
    CONF(["--config-file", path], project="peer", default_config_files=[], default_config_dirs=[])
    glance_store.register_store_opts(CONF)
    glance_store.create_multi_stores(CONF)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer = ["value", CALLS[name](*arguments)]
        except Exception as error:
            answer = ["error", type(error).__name__, str(error)]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
