"""Where blocks on other hosts may reach this one. Needs psutil, which Parsl brings."""

from __future__ import annotations

import psutil


def of_this_host() -> list[str]:
    """Of interfaces that are up, IPv4 before IPv6; loopback last, for a tunnel may end there."""
    stats = psutil.net_if_stats()
    found: list[tuple[bool, bool, str]] = []
    for name, addresses in psutil.net_if_addrs().items():
        for a in addresses:
            if a.family.name in ("AF_INET", "AF_INET6") and name in stats and stats[name].isup:
                loopback = a.address.startswith("127.") or a.address == "::1"
                if not a.address.startswith("fe80"):
                    found.append((loopback, a.family.name == "AF_INET6", a.address))
    return [address for _, _, address in sorted(found)]
