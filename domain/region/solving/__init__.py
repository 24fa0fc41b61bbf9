"""When a region looks for drivers, what it asks the solver, and what the last look left open."""
