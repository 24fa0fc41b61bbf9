"""Whom the gateway asks: the actors, the database and the road engine, as Protocols and as they are called."""
