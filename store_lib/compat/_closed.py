"""A store whose configuration holds a mistake: known to the service, and closed until that is mended."""

from __future__ import annotations

from typing import Any, NoReturn

from store_lib import Feature, Health, Status, errors
from store_lib.settings import StoreSettings

__all__ = ["ClosedStore"]


class ClosedStore:
    """Stands for a `store_lib.Store` that could not be made; touches nothing and refuses everything.

    A service goes on showing it, and takes none of its images for gone.

    :param settings: as far as they could be read; what is wrong is the option's default.
    :param schemes: of the locations of its driver.
    :param error: holds the mistakes.
    """

    features = Feature(0)

    def __init__(self, settings: StoreSettings, schemes: tuple[str, ...], error: errors.ConfigurationError) -> None:
        self.settings = settings
        self.id = settings.id
        self.type = settings.driver
        self.weight = settings.base.weight
        self.schemes = schemes
        problems = "; ".join(str(each) for each in error.mistakes)
        self._reason = f"store {self.id} is closed until its configuration is mended: {problems}"
        self.health = Health(Status.DOWN, self._reason)

    def prefix(self) -> None:
        """Return None: nothing is written here."""

    def image_id(self, uri: str) -> None:
        """Return None: nobody can tell."""

    def probe(self) -> Health:
        """Return that it is down; asks nobody."""
        return self.health

    def refuse(self, *arguments: Any, **keywords: Any) -> NoReturn:
        """Raise StoreUnavailable."""
        raise errors.StoreUnavailable(self._reason, transient=False)

    add = open = stat = delete = set_acls = describe = refuse
