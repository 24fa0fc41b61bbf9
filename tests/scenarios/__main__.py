"""`python -m tests.scenarios`: name the transcripts that no longer hold; with `--update`, write them anew."""

from __future__ import annotations

import sys

from tests.scenarios.test_transcripts import FILES
from tests.scenarios.transcript import Transcript


def main() -> int:
    """Exit status 1 when a transcript does not hold and was not to be updated."""
    update, stale = "--update" in sys.argv[1:], 0
    for file in FILES:
        before = file.read_text()
        after = Transcript().run(before)
        if after != before:
            stale += 1
            print(f"{file.name}: {'updated' if update else 'does not hold'}")
            if update:
                file.write_text(after)
    return 1 if stale and not update else 0


if __name__ == "__main__":
    sys.exit(main())
