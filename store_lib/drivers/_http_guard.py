"""Which addresses the http store connects to: looked at for the address itself, not for the name that led there."""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Iterable, Iterator, Sequence

from store_lib import errors
from store_lib.drivers._http_opts import Network

__all__ = ["Guard"]

LOG = logging.getLogger(__name__)

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: IPv6 networks whose addresses hold an IPv4 address, and how many bits stand after that.
_HOLDERS = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),  # mapped, RFC 4291
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), 0),  # translated, RFC 2765
    (ipaddress.IPv6Network("::/96"), 0),  # compatible, RFC 4291
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64, RFC 6052
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4, RFC 3056
)
_TEREDO = ipaddress.IPv6Network("2001::/32")  # RFC 4380: the client's IPv4 address is at the end, inverted


class Guard:
    """Refuses addresses by their network.

    :param denied: networks that are refused, with the reason.
    :param allowed: when there are any, all others are refused.
    """

    def __init__(self, denied: Sequence[tuple[Network, str]], allowed: Sequence[Network]) -> None:
        self._denied = denied
        self._allowed = allowed

    def why_not(self, text: str) -> str | None:
        """Return why an address in its usual form must not be connected to, None when it may be."""
        found = ipaddress.ip_address(text.partition("%")[0])  # without the zone
        for meaning in _meanings(found):
            for network, why in self._denied:
                if meaning in network:
                    return why
        shown = getattr(found, "ipv4_mapped", None) or found
        if self._allowed and not any(shown in network for network in self._allowed):
            return "it lies in no network of http_store_allowed_networks"
        return None

    def check_written(self, host: str) -> None:
        """Look at a host that is an address, in any form that resolvers take for one; a name passes.

        :raises ForeignLocation: it must not be connected to.
        """
        text = host.strip("[]").rstrip(".")
        try:
            ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            try:
                text = socket.inet_ntoa(socket.inet_aton(text))  # 2852039166, 0xa9.254.43518, 0251.0376.0251.0376
            except (OSError, UnicodeError):
                return
        self._refuse(host, self.why_not(text))

    def connect(
        self, host: str, port: int, timeout: float | None, options: Iterable[tuple[int, int, int | bytes]]
    ) -> socket.socket:
        """Return a socket connected to the first address of `host` that may be connected to and answers.

        The address that was looked at is the one that is connected to: no name is resolved twice.

        :param timeout: seconds, for each address.
        :raises ForeignLocation: none of the addresses may be connected to.
        :raises OSError: the name is not known, or nobody answers.
        """
        failure: OSError | None = None
        refused: str | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            refused = self.why_not(str(address[0]))
            if refused:
                LOG.info("address %s of %s is not connected to: %s", address[0], host, refused)
                continue
            sock = socket.socket(family, kind, protocol)
            try:
                for option in options:
                    sock.setsockopt(*option)
                sock.settimeout(timeout)
                sock.connect(address)
                self._refuse(host, self.why_not(sock.getpeername()[0]))
                return sock
            except OSError as error:
                failure = error
                sock.close()
            except BaseException:
                sock.close()
                raise
        if failure is not None:
            raise failure
        self._refuse(host, refused)
        raise OSError("the name has no address")

    @staticmethod
    def _refuse(host: str, why: str | None) -> None:
        if why:  # not the address: whoever asks for a location need not learn what names mean in here
            raise errors.ForeignLocation(f"{host} leads to an address that is refused: {why}")


def _meanings(address: _Address) -> Iterator[_Address]:
    """Yield an address and every other one that connecting to it may reach."""
    yield address
    if address.is_unspecified:  # the kernel connects to this very host
        yield ipaddress.ip_address("127.0.0.1")
        yield ipaddress.ip_address("::1")
    if isinstance(address, ipaddress.IPv6Address):
        for network, shift in _HOLDERS:
            if address in network:
                inner = ipaddress.IPv4Address(int(address) >> shift & 0xFFFFFFFF)
                yield inner
                if inner.is_unspecified:
                    yield ipaddress.ip_address("127.0.0.1")
        if address in _TEREDO:
            yield ipaddress.IPv4Address(~int(address) & 0xFFFFFFFF)
