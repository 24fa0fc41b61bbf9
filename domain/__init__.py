"""The pure core of Doorstep: no I/O, no clock, no randomness. Everything else is a shell around it."""
