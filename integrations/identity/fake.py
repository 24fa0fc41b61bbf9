"""A scripted identity vendor: the vendor token says what happens (`fake:pass`, `fake:fail`, ...)."""

from __future__ import annotations

from domain.ports import AgeResult, IdResult, VendorError, Verdict
from integrations.fake import FakeOptions, reference, script

# (over_age, not_expired, name_matches) of each script at the door.
_FAIL = Verdict.FAIL
DOOR: dict[str, tuple[Verdict, bool, bool, bool]] = {
    "pass": (Verdict.PASS, True, True, True),
    "fail": (_FAIL, False, True, True),
    "under_age": (_FAIL, False, True, True),
    "expired": (_FAIL, True, False, True),
    "wrong_name": (_FAIL, True, True, False),
    "review": (Verdict.REVIEW, False, False, False),
}


class FakeIdentity:
    """`domain.ports.IdentityVendor` for trials and tests; settings refuse it where they say production."""

    def __init__(self, options: FakeOptions) -> None:
        self._options = options

    async def verify_age(self, *, request_id: str, vendor_token: str, min_age: int) -> AgeResult:
        """The scripted verdict; `VendorError` for `fake:error` and for a token without a script."""
        verdict, _, _, _ = _door(await script(vendor_token, self._options))
        return AgeResult(verdict, reference("age", request_id))

    async def check_id(self, *, request_id: str, vendor_token: str, min_age: int) -> IdResult:
        """The scripted flags; `VendorError` for `fake:error` and for a token without a script."""
        verdict, over_age, not_expired, name_matches = _door(await script(vendor_token, self._options))
        return IdResult(verdict, over_age, not_expired, name_matches, reference("id", request_id))


def _door(name: str) -> tuple[Verdict, bool, bool, bool]:
    try:
        return DOOR[name]
    except KeyError:
        raise VendorError("the fake identity vendor has no such script") from None
