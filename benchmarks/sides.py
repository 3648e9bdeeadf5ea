"""store_lib and glance_store behind the same four calls, so that a case is written once."""

from __future__ import annotations

from typing import Any

__all__ = ["Ours", "Peer", "configured", "side"]


class Ours:
    """store_lib."""

    name = "store_lib"

    def __init__(self, sections: dict[str, dict[str, str]]) -> None:
        from oslo_config import cfg

        from store_lib import Stores

        self._stores = Stores.from_config(configured(cfg.ConfigOpts(), sections))
        self._store = self._stores.default

    def add(self, image_id: str, source: Any, size: int | None, digests: list[str]) -> str:
        """Store an image; return its location."""
        return self._store.add(image_id, source, size, digests=digests).location.uri

    def get(self, uri: str, offset: int = 0, length: int | None = None) -> int:
        """Read an image as a service does; return how many bytes came."""
        with self._store.open(uri, offset, length) as reader:
            return sum(len(chunk) for chunk in reader)

    def size(self, uri: str) -> int:
        """Return the size that the store tells."""
        return self._store.stat(uri).size

    def delete(self, uri: str) -> None:
        """Delete an image."""
        self._store.delete(uri)


class Peer:
    """glance_store; it always computes md5 beside the digest that it is asked for, and 0 is its unknown size."""

    name = "glance_store"

    def __init__(self, sections: dict[str, dict[str, str]]) -> None:
        import glance_store
        from glance_store import multi_backend
        from oslo_config import cfg

        conf = cfg.CONF  # it looks there whatever it is given
        conf.register_opts([cfg.DictOpt("enabled_backends")])
        configured(conf, sections)
        multi_backend.register_store_opts(conf)
        multi_backend.create_multi_stores(conf)
        self._conf, self._lib, self._backend = conf, glance_store, conf.glance_store.default_backend

    def add(self, image_id: str, source: Any, size: int | None, digests: list[str]) -> str:
        """Store an image; return its location."""
        wanted = next(name for name in (*digests, "md5") if name != "md5" or len(digests) < 2)
        return str(self._lib.add_with_multihash(self._conf, image_id, source, size or 0, self._backend, wanted)[0])

    def get(self, uri: str, offset: int = 0, length: int | None = None) -> int:
        """Read an image as a service does; return how many bytes came."""
        chunks, _ = self._lib.get(uri, self._backend, offset=offset, chunk_size=length)
        return sum(len(chunk) for chunk in chunks)

    def size(self, uri: str) -> int:
        """Return the size that the store tells."""
        return int(self._lib.get_size_from_uri_and_backend(uri, self._backend))

    def delete(self, uri: str) -> None:
        """Delete an image."""
        self._lib.delete(uri, self._backend)


def side(name: str) -> type[Ours] | type[Peer]:
    """Return the side of that name."""
    return {Ours.name: Ours, Peer.name: Peer}[name]


def configured(conf: Any, sections: dict[str, dict[str, str]]) -> Any:
    """Return `conf` with the values of `sections` read into it."""
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        for section, values in sections.items():
            file.write(f"[{section}]\n" + "".join(f"{name} = {value}\n" for name, value in values.items()))
        file.flush()
        conf(["--config-file", file.name], project="bench", default_config_files=[], default_config_dirs=[])
    return conf
