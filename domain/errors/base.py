"""What every refusal has, and the registry of them."""

from __future__ import annotations

from typing import ClassVar

CATALOGUE: dict[str, type[Refusal]] = {}


class Refusal(Exception):
    """The request was refused."""

    code: ClassVar[str] = ""
    status: ClassVar[int] = 400
    hint: ClassVar[str] = ""

    def __init__(self, detail: str = "", *, retry_after_s: int | None = None) -> None:
        self.title = (type(self).__doc__ or "").strip()
        self.detail = detail or self.title
        self.retry_after_s = retry_after_s
        super().__init__(self.detail)

    def __init_subclass__(cls) -> None:
        if not all(issubclass(base, Refusal) for base in cls.__bases__):
            return  # Ray mixes a refusal with an exception of its own to carry it from actor to caller
        if not cls.code or cls.code in CATALOGUE:
            raise TypeError(f"{cls.__name__} needs a code of its own")
        CATALOGUE[cls.code] = cls

    def __reduce__(self) -> tuple[object, ...]:
        return refusal, (self.code, self.detail, self.retry_after_s)


def refusal(code: str, detail: str = "", retry_after_s: int | None = None) -> Refusal:
    """The refusal with this catalogue code; `KeyError` for a code that is not in the catalogue."""
    return CATALOGUE[code](detail, retry_after_s=retry_after_s)
