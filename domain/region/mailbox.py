"""Pushes to drivers: numbered, kept until acknowledged, replayed to a client that comes back."""

from __future__ import annotations

from collections import deque

from msgspec.structs import replace

from domain.protocol import ServerFrame

# Pushes of one epoch to one driver: more than a driver gets in a region's life; epoch * SEQ_ROOM stays below 2**53.
SEQ_ROOM = 2**20


class Mailboxes:
    """One ring of at most `limit` unacknowledged frames per driver. Numbers start anew, higher, with each epoch."""

    def __init__(self, epoch: int, limit: int) -> None:
        self._base, self._limit = epoch * SEQ_ROOM, limit
        self._rings: dict[str, deque[ServerFrame]] = {}
        self._last: dict[str, int] = {}
        self._forgotten = self._base  # the greatest number of all drivers who were forgotten

    def put(self, driver_id: str, frame: ServerFrame) -> ServerFrame:
        """Number the frame, keep it, and return it as it goes out."""
        self._last[driver_id] = seq = self.last_seq(driver_id) + 1
        frame = replace(frame, seq=seq)
        self._rings.setdefault(driver_id, deque(maxlen=self._limit)).append(frame)
        return frame

    def last_seq(self, driver_id: str) -> int:
        """The number of the newest push; what a client that knows everything would resume from."""
        return self._last.get(driver_id, self._forgotten)

    def kept(self, driver_id: str) -> tuple[ServerFrame, ...]:
        """What was pushed and not acknowledged."""
        return tuple(self._rings.get(driver_id, ()))

    def since(self, driver_id: str, seq: int | None) -> tuple[ServerFrame, ...] | None:
        """Every push after `seq`; None when that cannot be told, because the ring does not reach back to it."""
        kept, last = self.kept(driver_id), self.last_seq(driver_id)
        oldest = kept[0].seq if kept else last + 1
        if seq is None or not self._base <= seq <= last or oldest > seq + 1:
            return None
        return tuple(frame for frame in kept if frame.seq > seq)

    def forget(self, driver_id: str) -> None:
        """Keep nothing for the driver. Who comes back is numbered from above all that was forgotten, so that no number
        comes twice, and hears that the ring does not reach back."""
        self._forgotten = max(self._forgotten, self._last.pop(driver_id, self._base))
        self._rings.pop(driver_id, None)

    def acked(self, driver_id: str, seq: int) -> None:
        """Forget what the client has handled."""
        ring = self._rings.get(driver_id)
        while ring and ring[0].seq <= seq:
            ring.popleft()
        if ring is not None and not ring:
            del self._rings[driver_id]  # an empty deque takes more room than two frames
