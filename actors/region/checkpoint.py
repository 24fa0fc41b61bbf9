"""A region's whole state as bytes, so that a log can begin in the middle of a region's life.

    frozen = freeze(region)    # on the region's loop: containers are copied, what is never changed is shared
    dump(frozen, write)        # in another thread: compressed pickles, piece by piece
    region = load(pieces)      # goes on exactly like the original

The state is pickled because that is complete whatever a region holds: a field that is added to it tomorrow is in the
checkpoint too. Only what `freeze` knows how to copy is written, and only the types listed here are made when it is
read: never a function or class that the file names otherwise.
"""

from __future__ import annotations

import gc
import importlib
import io
import pickle
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from enum import Enum
from functools import cache
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct
from msgspec.structs import fields

import domain
from domain.region.machine import Region
from domain.region.messages import Ready

PICKLE_PROTOCOL = 5
_FAST = 1  # zlib's level: a third of the size in the least time
_LARGE = 1_000  # containers with more items are pickled in parts
_AT_ONCE = 500  # items in one pickle

_ATOMS = (type(None), bool, int, float, str, bytes, tuple, frozenset, Enum, date, np.generic)
_shared: set[type] = set()  # types met so far whose values are never changed
_KINDS: dict[str, Callable[[list[Any]], Any]] = {"dict": dict, "OrderedDict": OrderedDict, "list": list}
# Besides the classes of domain/, what a checkpoint may name. All of it only holds values.
_ALLOWED = {
    ("builtins", "set"),
    ("builtins", "frozenset"),
    ("collections", "OrderedDict"),
    ("collections", "deque"),
    ("datetime", "datetime"),
    ("datetime", "timedelta"),
    ("datetime", "timezone"),
    ("msgspec._utils", "rebuild"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
}


class CheckpointError(Exception):
    """The checkpoint cannot be read; the message says why."""


class CutOff(CheckpointError):
    """The checkpoint is not whole: the process ended while it was written."""


@cache
def code_hash() -> str:
    """Twelve hex digits over the source of domain/: what decides. Another hash may decide otherwise."""
    folder = Path(domain.__file__).parent
    found = blake2b(digest_size=6)
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix()):
        found.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


# -- out --------------------------------------------------------------------------------------------------------------


class _Part(NamedTuple):
    """Stands for a large container in the state; its items are pickled apart from it, some at a time."""

    number: int


class _Large(NamedTuple):
    kind: str  # of _KINDS, or deque
    maxlen: int | None
    length: int
    items: Iterator[Any]


class Frozen(NamedTuple):
    """A region's state at one moment, to be dumped once. The region's next steps do not touch it."""

    state: Any  # a Region whose large containers are `_Part`s
    parts: list[_Large]


def freeze(region: Region) -> Frozen:
    """Copy the state: some 20 ms for 10,000 drivers. `TypeError` for state of a kind that is not known here."""
    freezer = _Freezer()
    with _no_collection():
        state = freezer.copied(region)
    state.state.ready = Ready()  # the last step's outcome is no state: the next step begins with an empty one
    return Frozen(state, freezer.parts)


@contextmanager
def _no_collection() -> Iterator[None]:
    """What is made meanwhile stays: a garbage collection on the way would look through all of it in vain."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


class _Freezer:
    def __init__(self) -> None:
        self.parts: list[_Large] = []

    def copied(self, value: Any) -> Any:
        """Containers and objects of domain/ are copied; what is never changed (frozen structs, tuples) is shared."""
        kind = type(value)
        if kind in _shared:
            return value
        if kind is deque:
            items = list(value) if _all_shared(value) else list(map(self.copied, value))
            if len(items) > _LARGE:
                return self._large("deque", len(items), items, value.maxlen)
            return deque(items, value.maxlen)
        if kind is dict:
            shared = _all_shared(value.values())
            copy = dict(value) if shared else {key: self.copied(item) for key, item in value.items()}
            return self._large("dict", len(copy), copy.items()) if len(copy) > _LARGE else copy
        if kind is OrderedDict:
            values = list(map(value.__getitem__, value))
            if not _all_shared(values):
                values = list(map(self.copied, values))
            pairs = zip(list(value), values, strict=True)  # made later: 50,000 tuples take their time
            return self._large("OrderedDict", len(values), pairs) if len(values) > _LARGE else kind(pairs)
        if kind is list:
            items = list(value) if _all_shared(value) else list(map(self.copied, value))
            return self._large("list", len(items), items) if len(items) > _LARGE else items
        if kind is set:
            return set(value)  # whatever can be in a set is not changed
        if kind is np.ndarray:
            return value.copy()
        if _all_shared((value,)):
            return value
        if issubclass(kind, Struct):
            return kind(**{field.name: self.copied(getattr(value, field.name)) for field in fields(kind)})
        if kind.__module__.partition(".")[0] == "domain":
            copy = object.__new__(kind)
            for name, item in _attributes(value):
                setattr(copy, name, self.copied(item))
            return copy
        raise TypeError(f"state of type {kind.__module__}.{kind.__qualname__} cannot be kept in a checkpoint")

    def _large(self, kind: str, length: int, items: Iterable[Any], maxlen: int | None = None) -> _Part:
        self.parts.append(_Large(kind, maxlen, length, iter(items)))
        return _Part(len(self.parts) - 1)


def _all_shared(values: Iterable[Any]) -> bool:
    """Whether none of the values can change."""
    if _shared.issuperset(map(type, values)):  # runs in C: this is what makes a copy of 50,000 answers quick
        return True
    for kind in set(map(type, values)) - _shared:
        frozen = issubclass(kind, Struct) and kind.__struct_config__.frozen
        if not frozen and not issubclass(kind, _ATOMS):
            return False
        _shared.add(kind)
    return True


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    if hasattr(value, "__dict__"):
        yield from vars(value).items()
    for name in getattr(value, "__slots__", ()):
        if hasattr(value, name):
            yield name, getattr(value, name)


def dump(frozen: Frozen, write: Callable[[bytes], object]) -> None:
    """Hand the state to `write` in pieces of at most some 100 KB.

    A pickle is made without letting other threads run, so each holds a few milliseconds' worth of items: the region
    goes on while its checkpoint is written.
    """
    packer = zlib.compressobj(_FAST)

    def pickled(value: object) -> None:
        stream = io.BytesIO()
        _Pickler(stream, PICKLE_PROTOCOL).dump(value)
        if packed := packer.compress(stream.getbuffer()):
            write(packed)

    pickled([(part.kind, part.maxlen, part.length) for part in frozen.parts])
    for part in frozen.parts:
        while some := list(islice(part.items, _AT_ONCE)):
            pickled(some)
    pickled(frozen.state)
    write(packer.flush())


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> int | None:
        return value.number if type(value) is _Part else None


# -- in ---------------------------------------------------------------------------------------------------------------


def load(pieces: Iterable[bytes]) -> Region:
    """The region that `dump` handed out. `CheckpointError` when it is not whole or was made by other code."""
    try:
        with _no_collection():
            region = _loaded(pieces)
    except CheckpointError:
        raise
    except Exception as error:  # a pickle of other code can fail in any way
        raise CheckpointError(
            f"its checkpoint cannot be read by this code ({type(error).__name__}: {error})"
        ) from None
    if not isinstance(region, Region):
        raise CheckpointError("its checkpoint is not of a region")
    return region


def _loaded(pieces: Iterable[bytes]) -> Any:
    unpacker = zlib.decompressobj()
    stream = io.BytesIO(b"".join(map(unpacker.decompress, pieces)) + unpacker.flush())
    if not unpacker.eof:
        raise CutOff("its checkpoint is cut off")
    parts: list[Any] = []
    for kind, maxlen, length in _Loader(stream, parts).load():
        items: list[Any] = []
        while len(items) < length:
            more = _Loader(stream, parts).load()
            if not more:
                raise CheckpointError("its checkpoint lacks a part")
            items += more
        parts.append(deque(items, maxlen) if kind == "deque" else _KINDS[kind](items))
    return _Loader(stream, parts).load()


class _Loader(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, parts: list[Any]) -> None:
        super().__init__(stream)
        self._parts = parts

    def find_class(self, module: str, name: str) -> Any:
        """The listed types and classes defined in domain/; nothing else, whatever the file asks for."""
        if (module, name) in _ALLOWED:
            return super().find_class(module, name)
        if module.partition(".")[0] == "domain" and "." not in name:
            found = getattr(importlib.import_module(module), name, None)
            if isinstance(found, type) and found.__module__ == module:
                return found
        raise CheckpointError(f"its checkpoint names {module}.{name}, which this code does not know")

    def persistent_load(self, number: Any) -> Any:
        return self._parts[number]


# -- comparing --------------------------------------------------------------------------------------------------------


def difference(one: Any, other: Any, where: str = "region") -> str | None:
    """The first place in which two states differ, such as `region.state.fleet.lat`; None when they are the same."""
    if one is other:
        return None
    if type(one) is not type(other):
        return where
    if isinstance(one, np.ndarray):
        return None if one.dtype == other.dtype and np.array_equal(one, other) else where
    if isinstance(one, dict) and list(one) != list(other):
        return where  # their order counts, for it may decide
    try:
        if one == other:
            return None
    except ValueError:  # there are arrays in it
        pass
    mine, theirs = _parts(one), _parts(other)
    if mine is None or theirs is None or list(mine) != list(theirs):
        return where
    found = (difference(mine[name], theirs[name], where + name) for name in mine if name != ".ready")
    return next(filter(None, found), None)


def _parts(value: Any) -> dict[str, Any] | None:
    """What a value consists of, by name; None for what is compared as a whole."""
    if isinstance(value, dict):
        return {f"[{key!r}]": item for key, item in value.items()}
    if isinstance(value, list | deque | tuple):
        return {f"[{i}]": item for i, item in enumerate(value)}
    if isinstance(value, Struct):
        return {f".{field.name}": getattr(value, field.name) for field in fields(value)}
    if type(value).__module__.partition(".")[0] == "domain" and not isinstance(value, Enum):
        return {f".{name}": item for name, item in _attributes(value)}
    return None
