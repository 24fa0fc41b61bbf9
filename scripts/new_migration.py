"""Write the migration that the models want: `python -m scripts.new_migration vehicles`.

On a database of its own, which a server started for it has. Look at what it wrote before you keep it.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from doorstep.embedded.services import Embedded, temporary_database
from persistence.migrate import new_revision


async def _write(owner_url: str, name: str) -> str:
    async with temporary_database(owner_url) as url:
        return await new_revision(url, name)


def main() -> int:
    """Print the new file's name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="what the migration is about, in one or two words")
    name = parser.parse_args().name
    with tempfile.TemporaryDirectory(prefix="doorstep-migration-") as folder:
        Path(folder).chmod(0o755)  # Postgres is another user under root
        with Embedded(Path(folder)) as embedded:
            path = asyncio.run(_write(embedded.database_owner_url, name))
    for tool in (("check", "--fix", "--quiet"), ("format", "--quiet")):
        subprocess.run([sys.executable, "-m", "ruff", *tool, path], check=False)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
