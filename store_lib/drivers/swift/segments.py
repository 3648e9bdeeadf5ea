"""Large objects: which segments an image consists of, and how they are removed."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from store_lib import errors
from store_lib.drivers.swift.client import Account, Answer
from store_lib.interface import Context

__all__ = ["Segment", "all_segments", "dynamic_segments", "is_dynamic", "is_static", "remove", "static_segments"]

#: Manifests within manifests; Swift itself goes ten deep.
_DEEPEST = 10


@dataclasses.dataclass(frozen=True)
class Segment:
    """A run of an image's bytes in an object of its own.

    :param start: of the run inside that object.
    :param offset: of the run inside the image.
    :param size: bytes of the run.
    :param etag: of the object, empty when not known.
    :param manifest: it holds no bytes but names of further segments; `size` counts for nothing then.
    """

    container: str
    name: str
    start: int
    offset: int
    size: int
    etag: str
    manifest: bool = False


def is_static(answer: Answer) -> bool:
    """Whether the headers are those of a static manifest."""
    return answer.headers.get("x-static-large-object", "").lower() == "true"


def is_dynamic(answer: Answer) -> str | None:
    """Return ``container/prefix`` of a dynamic manifest, unquoted, None for anything else."""
    found = answer.headers.get("x-object-manifest")
    return urllib.parse.unquote(found) if found else None


def static_segments(account: Account, container: str, name: str, ctx: Context) -> list[Segment]:
    """Return the segments of a static manifest in the order of the image, manifests within it among them.

    Bytes that stand in a manifest itself are a segment without a name.
    """
    return [*_walk(account, container, name, ctx, 0, None, 0, 0)]


def all_segments(account: Account, container: str, name: str, ctx: Context, depth: int = 0) -> Iterator[Segment]:
    """Yield every object behind a static manifest, those that it uses only a part of included; offsets mean nothing."""
    for entry in _manifest(account, container, name, ctx, depth):
        if "name" in entry:
            inside_container, _, inside = entry["name"].lstrip("/").partition("/")
            inner = bool(entry.get("sub_slo"))
            yield Segment(inside_container, inside, 0, 0, 0, "", manifest=inner)
            if inner:
                yield from all_segments(account, inside_container, inside, ctx, depth + 1)


def _manifest(account: Account, container: str, name: str, ctx: Context, depth: int) -> list[Any]:
    """Return the entries of one manifest."""
    if depth >= _DEEPEST:
        raise errors.BackendError("the manifest holds manifests in manifests without an end")
    query = {"multipart-manifest": "get", "format": "json"}
    answer = account.request(ctx, "GET", container, name, query=query)
    if answer.status == 404 and depth:
        return []  # a delete that was broken off has been here; what is left goes as well
    return _entries(answer.check())


def _walk(
    account: Account, container: str, name: str, ctx: Context, skip: int, limit: int | None, offset: int, depth: int
) -> Iterator[Segment]:
    """Yield the segments that hold the bytes from `skip` on, `limit` of them, of one manifest; they lie at `offset`."""
    for entry in _manifest(account, container, name, ctx, depth):
        first, size = _range(entry)
        begin, end = skip, size if limit is None else min(size, skip + limit)
        skip = max(0, skip - size)
        if begin >= size:
            continue
        if limit is not None:
            limit -= end - begin
        inside_container, _, inside = entry.get("name", "").lstrip("/").partition("/")
        if entry.get("sub_slo"):
            yield Segment(inside_container, inside, 0, offset, 0, "", manifest=True)
            yield from _walk(account, inside_container, inside, ctx, first + begin, end - begin, offset, depth + 1)
        else:
            etag = (entry.get("hash") or "").strip('"')
            yield Segment(inside_container, inside, first + begin, offset, end - begin, etag)
        offset += end - begin
        if limit == 0:
            return


def _entries(answer: Answer) -> list[Any]:
    try:
        found = json.loads(answer.body)
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise errors.BackendError("the manifest of the image cannot be read")
    return found


def _range(entry: Mapping[str, Any]) -> tuple[int, int]:
    """Return first byte and length of what an entry stands for; it may be a part of its object."""
    if "data" in entry:
        return 0, len(base64.b64decode(entry["data"]))
    size = int(entry["bytes"])
    found = re.fullmatch(r"(\d*)-(\d*)", entry.get("range") or "")
    if found is None or not (found[1] or found[2]):
        return 0, size
    if not found[1]:
        length = min(size, int(found[2]))
        return size - length, length
    last = min(size - 1, int(found[2])) if found[2] else size - 1
    return int(found[1]), last - int(found[1]) + 1


def dynamic_segments(account: Account, manifest: str, ctx: Context) -> list[Segment]:
    """Return the objects that belong to the dynamic manifest of that ``container/prefix``.

    A prefix that ends within a name is what glance_store writes: only digits belong to it then, since ``a-`` would be
    the beginning of another image's name as well.
    """
    container, _, prefix = manifest.partition("/")
    if not prefix:
        raise errors.BackendError("the manifest of the image names a whole container")
    found, offset = [], 0
    for entry in account.objects(ctx, container, prefix):
        if prefix.endswith("/") or re.fullmatch(r"[0-9]{5,}", entry.name[len(prefix) :]):
            found.append(Segment(container, entry.name, 0, offset, entry.size, entry.etag))
            offset += entry.size
    return found


def remove(account: Account, names: Sequence[tuple[str, str]], bulk: int, ctx: Context) -> None:
    """Remove objects, ``(container, name)`` each, in parallel; those that are gone already do not matter.

    :param bulk: most names in one request, 0 where the server removes one at a time.
    """
    unique = [*dict.fromkeys(names)]
    if bulk > 1 and len(unique) > 2:
        batches = [unique[at : at + bulk] for at in range(0, len(unique), bulk)]
        ctx.map(lambda batch: _remove_bulk(account, batch, ctx), batches)
    else:
        ctx.map(lambda each: _remove_one(account, each, ctx), unique)


def _remove_one(account: Account, each: tuple[str, str], ctx: Context) -> None:
    answer = account.request(ctx, "DELETE", *each)
    if answer.status != 404:
        answer.check()


def _remove_bulk(account: Account, batch: Sequence[tuple[str, str]], ctx: Context) -> None:
    body = "\n".join(urllib.parse.quote(f"/{container}/{name}") for container, name in batch).encode()
    headers = {"Content-Type": "text/plain", "Accept": "application/json"}
    answer = account.request(ctx, "POST", query={"bulk-delete": "1"}, headers=headers, body=body).check()
    try:  # its status says nothing: that was sent before the work began
        found = json.loads(answer.body)
        problems, status = found["Errors"], found["Response Status"]
    except (ValueError, KeyError):
        raise errors.BackendError("the answer to a bulk delete cannot be read", transient=True) from None
    if any(told.startswith("401") for _, told in problems):
        # Swift looks at the token once for each object, and leaves a service's own beside it out.
        for each in batch:
            _remove_one(account, each, ctx)
        return
    if problems or not status.startswith(("2", "404")):
        told = problems[0][1] if problems else status
        raise errors.StoreUnavailable(f"{len(problems) or 'some'} objects could not be removed: {told}")
