"""The shell round the store, and what carries committed events on."""
