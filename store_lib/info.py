"""Everything there is to say about one store, for people and services."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from store_lib.health import Health
from store_lib.interface import Capacity, Feature, Limits

__all__ = ["StoreInfo"]


@dataclasses.dataclass(frozen=True)
class StoreInfo:
    """What a store is, can do, and was told to do; holds no secret.

    :param type: name of its driver.
    :param default: whether it takes an image when no store is named.
    :param prefix: what every location written there begins with, where there is such a thing.
    :param features: what it can do, less what the operator switched off.
    :param limits: of an upload of unknown size.
    :param properties: what the driver tells of itself, as image services show it.
    :param backend: equal for two stores means that they share a backend; None where that cannot be told.
    :param settings: ``{option: {"value": ..., "origin": where it was written}}``, secrets masked.
    :param health: what was known last.
    :param capacity: room in bytes; None when it was not asked for or cannot be told.
    """

    id: str
    type: str
    description: str | None
    default: bool
    weight: int
    read_only: bool
    schemes: tuple[str, ...]
    prefix: str | None
    features: Feature
    limits: Limits
    properties: Mapping[str, Any]
    backend: str | None
    settings: Mapping[str, Mapping[str, Any]]
    health: Health
    capacity: Capacity | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-able form; ``capacity`` is there only when it is known."""
        told = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        told["schemes"] = list(self.schemes)
        told["features"] = sorted(str(each.name).lower() for each in self.features)
        told["limits"] = dataclasses.asdict(self.limits)
        told["properties"] = dict(self.properties)
        told["settings"] = {name: dict(each) for name, each in self.settings.items()}
        told["health"] = self.health.to_dict()
        del told["capacity"]
        if self.capacity is not None:
            told["capacity"] = dataclasses.asdict(self.capacity)
        return told
