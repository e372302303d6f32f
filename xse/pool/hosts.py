"""The hosts of a pool: which have a block, and which are left out because they do not answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

LOOK_AGAIN_S = 5.0  # before hosts that were left out are asked again; then twice as long each time
MOST_LOOK_AGAIN_S = 60.0


class Hosts:
    """A block is started on every host that answers and has none. ``names``: of all of the pool's hosts."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._blocks: dict[str, tuple[str, ...]] = {}
        self.left_out: dict[str, str] = {}  # with the reason
        self._look_again_s = LOOK_AGAIN_S

    def without_block(self) -> tuple[str, ...]:
        """Hosts on which no block runs or starts."""
        taken = {host for hosts in self._blocks.values() for host in hosts}
        return tuple(host for host in self._names if host not in taken)

    def all_left_out(self) -> bool:
        """There is no host on which a block runs or could."""
        return not self._blocks and not self.usable()

    def usable(self) -> tuple[str, ...]:
        """Those of them that are not left out."""
        return tuple(host for host in self.without_block() if host not in self.left_out)

    def hosts_of(self, block_id: str) -> tuple[str, ...]:
        """On which this block runs or starts."""
        return self._blocks.get(block_id, ())

    def block_started(self, block_id: str, hosts: Iterable[str]) -> None:
        """A block was launched on these."""
        self._blocks[block_id] = tuple(hosts)

    def block_over(self, block_id: str) -> None:
        """It was lost, or did not start."""
        self._blocks.pop(block_id, None)

    def looked(self, asked: Iterable[str], unreachable: Mapping[str, str]) -> tuple[list[str], list[str]]:
        """Take note of which of ``asked`` answer. Returns those that are left out anew, and those that are back."""
        lost, back = [], []
        for host in asked:
            if host in unreachable:
                if host not in self.left_out:
                    lost.append(host)
                self.left_out[host] = unreachable[host]
            elif self.left_out.pop(host, None) is not None:
                back.append(host)
        if lost or back:
            self._look_again_s = LOOK_AGAIN_S
        return lost, back

    def look_again_s(self) -> float | None:
        """Seconds until the hosts that are left out should be asked again; None: there are none."""
        if not self.left_out:
            return None
        seconds = self._look_again_s
        self._look_again_s = min(2 * seconds, MOST_LOOK_AGAIN_S)
        return seconds
