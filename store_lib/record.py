"""What add returns: everything worth keeping of one copy of an image."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Mapping
from typing import Any

from store_lib.interface import Checksum
from store_lib.location import Location

__all__ = ["ImageRecord"]


@dataclasses.dataclass(frozen=True)
class ImageRecord:
    """One copy of an image, as it was written.

    :param id: of the image.
    :param location: where the copy is.
    :param size: bytes.
    :param digests: ``{hashlib's name: lower-case hexadecimal}``, computed while the bytes passed.
    :param verified_by: what proves that the storage holds them: ``size`` (it counted as many bytes), ``backend`` (its
        own checksum is the one computed here) or ``read`` (the image was read back).
    :param backend_checksum: the storage's own digest, where it has one.
    :param written_at: when it became visible, UTC.
    :param seconds: how long that took.
    """

    id: str
    location: Location
    size: int
    digests: Mapping[str, str]
    verified_by: str
    backend_checksum: Checksum | None
    written_at: datetime.datetime
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-able form; ``metadata`` is there only when the store tells some."""
        checksum = self.backend_checksum
        result = {
            "id": self.id,
            "store": self.location.store,
            "uri": self.location.uri,
            "size": self.size,
            "digests": dict(self.digests),
            "verified_by": self.verified_by,
            "backend_checksum": f"{checksum.algorithm}:{checksum.value}" if checksum else None,
            "written_at": self.written_at.isoformat(),
            "seconds": round(self.seconds, 6),
        }
        if self.location.metadata:
            result["metadata"] = dict(self.location.metadata)
        return result

    def to_json(self) -> str:
        """Return `to_dict` as JSON."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ImageRecord:
        """Return the record that `to_dict` told."""
        algorithm, _, value = (data["backend_checksum"] or "").partition(":")
        return cls(
            id=data["id"],
            location=Location(data["uri"], data["store"], data.get("metadata", {})),
            size=data["size"],
            digests=dict(data["digests"]),
            verified_by=data["verified_by"],
            backend_checksum=Checksum(algorithm, value) if algorithm else None,
            written_at=datetime.datetime.fromisoformat(data["written_at"]),
            seconds=data["seconds"],
        )

    @classmethod
    def from_json(cls, text: str) -> ImageRecord:
        """Return the record that `to_json` told."""
        return cls.from_dict(json.loads(text))
