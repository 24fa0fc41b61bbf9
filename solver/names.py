"""What is known of solvers by their names, without loading them."""

from __future__ import annotations

# VROOM's searches run in threads that end each other, so of routes that are equally good now the one comes out, now the
# other. A region's log holds the plan, so its decisions replay all the same.
NOT_REPEATABLE = frozenset({"batch"})
