"""Whether strangers ask this process, and which addresses it then opens for them. Travels inside a registered model.

One switch: with UNROLL_SERVED=1, and in every server that `mlflow models serve` starts, an address is a public host's
or a file's below the folder that UNROLL_CLIPS names; without UNROLL_CLIPS no file of the machine is opened.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import Any

ADDRESSES = "an address such as https://host/clip.mp4 (https, http, s3 or gs) on a publicly reachable host"
# Of IPv6, what networks hand out to hosts that everybody can reach, and the IPv4 addresses behind a NAT64.
_GLOBAL, _NAT64 = ipaddress.IPv6Network("2000::/3"), ipaddress.IPv6Network("64:ff9b::/96")
# 6to4, Teredo, and examples in texts (RFC 9637), which Python 3.13 takes for global
_NEVER = tuple(map(ipaddress.IPv6Network, ("2002::/16", "2001::/32", "3fff::/20")))


def is_served() -> bool:
    """Whether this process answers strangers. `mlflow models serve` hands its server the model in a variable."""
    return os.environ.get("UNROLL_SERVED") == "1" or "__pyfunc_model_path__" in os.environ


def shared_file(path: str) -> Path:
    """A file below UNROLL_CLIPS by its path, which may be relative to that folder; links are followed.

    Raises ValueError for any other, whether or not it is there.
    """
    try:
        folder = Path(os.environ["UNROLL_CLIPS"]).resolve(strict=True)
        found = (folder / path).resolve()
        if found.is_relative_to(folder):
            return found
    except (KeyError, OSError, ValueError, RuntimeError):  # no folder, or a path that no file can have
        pass
    raise ValueError(
        f"found a path on the server; allowed: {ADDRESSES}, or a file in the folder that the server shares"
    )


def is_public(host: str) -> bool:
    """Whether an IP address, as sockets write it, belongs to the public internet: not to a private network, this
    machine, its link or a group of hosts.

    Of IPv6 that is `2000::/3` without the tunnels through IPv4 (6to4, Teredo), which could end anywhere; a mapped
    address and one behind the well-known NAT64 are the IPv4 one that they carry. All others that carry one
    (`::7f00:1`, `64:ff9b:1::7f00:1`) are none.
    """
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address):
        carried = address.ipv4_mapped
        if address in _NAT64:
            carried = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if carried is not None:
            return is_public(str(carried))
        if address not in _GLOBAL or any(address in network for network in _NEVER):
            return False
    return address.is_global and not address.is_multicast


def public_socket(address_info: Any) -> socket.socket:
    """aiohttp's `socket_factory`: a socket for one address that a name has stood for. Asked before each connection,
    those of redirects too, for the very address that is connected to: what a name stands for later changes nothing.

    Raises PermissionError where the address is not public.
    """
    family, kind, protocol, _, address = address_info
    if not is_public(address[0]):
        raise PermissionError("not a public host")
    return socket.socket(family, kind, protocol)


async def public_session(**options: Any) -> Any:
    """fsspec's `get_client` for HTTP: an aiohttp session that connects to public hosts alone."""
    import aiohttp

    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=public_socket), **options)
