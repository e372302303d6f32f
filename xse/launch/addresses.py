"""The addresses at which pools of other hosts may reach this one."""

from __future__ import annotations

import array
import contextlib
import fcntl
import ipaddress
import socket
import struct

_SIOCGIFCONF = 0x8912  # the IPv4 addresses of all interfaces (netdevice(7))
_SIOCGIFFLAGS = 0x8913
_IFF_UP = 1
_IFREQ = struct.Struct("16s24s")  # struct ifreq: a name, and what is asked
_MOST_INTERFACES = 1024
_INET6 = "/proc/net/if_inet6"


def of_this_host() -> list[str]:
    """The addresses of all interfaces that are up: IPv4 before IPv6; loopback last, for a tunnel may end there."""
    found = [ipaddress.ip_address(text) for text in (*_ipv4(), *_ipv6())]
    usable = dict.fromkeys(a for a in found if not a.is_link_local)
    return [str(a) for a in sorted(usable, key=lambda a: (a.is_loopback, a.version))]


def _ipv4() -> list[str]:
    room = array.array("B", bytes(_IFREQ.size * _MOST_INTERFACES))
    address, length = room.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            n, _ = struct.unpack("iL", fcntl.ioctl(asking, _SIOCGIFCONF, struct.pack("iL", length, address)))
        except OSError:
            return []
        entries = list(_IFREQ.iter_unpack(room.tobytes()[:n]))
        return [socket.inet_ntoa(entry[4:8]) for name, entry in entries if _is_up(asking, name)]


def _is_up(asking: socket.socket, name: bytes) -> bool:
    with contextlib.suppress(OSError):  # it is gone
        flags = _IFREQ.unpack(fcntl.ioctl(asking, _SIOCGIFFLAGS, _IFREQ.pack(name.split(b":")[0], b"")))[1]
        return bool(struct.unpack_from("H", flags)[0] & _IFF_UP)
    return False


def _ipv6() -> list[str]:
    try:
        with open(_INET6) as lines:
            return [str(ipaddress.IPv6Address(int(line.split()[0], 16))) for line in lines]
    except (OSError, ValueError):  # a host without IPv6
        return []
