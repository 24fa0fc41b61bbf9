"""The driver sockets: the protocol's state machine, its shell, and who is connected."""
