"""A line of the registry: what a vendor is told, and what is made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

T = TypeVar("T")


class Vendor(Struct, Generic[T], frozen=True):
    """`make` the vendor of its `options`, a struct whose fields say what they mean and may be (`msgspec.Meta`)."""

    options: type[Struct]
    make: Callable[[Any], T]

    def read(self, given: Mapping[str, Any]) -> Struct:
        """The options as they are given by name. `ValueError` for whatever cannot be meant; it repeats no value, as one
        may be a secret."""
        known = self.options.__struct_fields__
        for name in given:
            if name not in known:
                near = get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known) or 'none'}"
                raise ValueError(f"there is no option {name}; {hint}")
        try:
            return msgspec.convert(given, self.options)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None

    def __call__(self, given: Mapping[str, Any]) -> T:
        """The vendor with these options. `ValueError` as for `read`."""
        return self.make(self.read(given))
