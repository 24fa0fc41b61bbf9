"""REST, the driver sockets and mission control's stream: the one door that clients come through."""
