"""Vendors behind the ports of `domain.ports`. One file each and a line in `integrations.registry`."""
