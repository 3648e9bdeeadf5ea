"""A backend of oslo.middleware's health check: is this service's storage usable?

::

    [app:healthcheck]
    paste.app_factory = oslo_middleware:Healthcheck.app_factory
    backends = store_lib
    fail_on = any

`fail_on` may stand in the paste file as above or in the group ``[healthcheck]`` of the service's configuration.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from oslo_config import cfg
from oslo_middleware.healthcheck.pluginbase import HealthcheckBaseExtension, HealthcheckResult

from store_lib.errors import StoreLibError
from store_lib.health import Health
from store_lib.interface import Status
from store_lib.stores import Stores

__all__ = ["OPTIONS", "StoresHealthcheck"]

OPTIONS = [
    cfg.StrOpt(
        "fail_on",
        default="default",
        choices=[
            ("default", "the default store is down"),
            ("any", "any store is down"),
            ("none", "never; the states are only told"),
        ],
        help="When the health check's backend store_lib finds the service unavailable.",
    ),
]


class StoresHealthcheck(HealthcheckBaseExtension):
    """Answers from the last probe of each store as long as that is younger than the store's `probe_interval`.

    It makes stores of its own, from the configuration of the service, at the first request.  Safe for threads, and for
    services that fork after loading it.
    """

    def __init__(self, oslo_conf: cfg.ConfigOpts, conf: dict[str, Any]) -> None:
        super().__init__(oslo_conf, conf)
        oslo_conf.register_opts(OPTIONS, group="healthcheck")
        self._fail_on, self._mistake = "default", ""
        try:
            self._fail_on = self._conf_get("fail_on")
        except (ValueError, cfg.Error) as error:  # raised here, oslo.middleware would go on without this backend
            self._mistake = str(error).replace("\n", " ")
        self._making = threading.Lock()
        self._stores: Stores | None = None

    def healthcheck(self, server_port: int) -> HealthcheckResult:
        """Return whether the stores that count are usable."""
        if self._mistake:
            return HealthcheckResult(False, "fail_on is wrong", self._mistake)
        try:
            stores = self._made()
            found = self._asked(stores)
            broken = [*stores.broken]
            default = stores.default.id if self._fail_on == "default" else None
        except StoreLibError as error:
            return HealthcheckResult(self._fail_on == "none", "the stores cannot be used", str(error))
        down = [*broken, *(name for name, health in found.items() if health.status is Status.DOWN)]
        counted = {"default": [name for name in down if name == default], "any": down, "none": []}[self._fail_on]
        told = [_line(name, health) for name, health in found.items()]
        told += [f"{name}: not usable as it is configured" for name in broken]
        reason = f"down: {', '.join(counted)}" if counted else "OK"
        return HealthcheckResult(not counted, reason, "; ".join(told))

    def _made(self) -> Stores:
        with self._making:
            if self._stores is None:
                self._stores = Stores.from_config(self.oslo_conf, strict=False)
            return self._stores

    @staticmethod
    def _asked(stores: Stores) -> Mapping[str, Health]:
        """Return what is known of each store, asked now where that is too old."""
        found = {store.id: store.health for store in stores.values()}
        due = [store.id for store in stores.values() if store.probe_due]
        return {**found, **(stores.probe(*due) if due else {})}


def _line(name: str, health: Health) -> str:
    return f"{name}: {health.status.value}" + (f" ({health.reason})" if health.reason else "")
