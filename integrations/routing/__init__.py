"""Road routing: the engines behind `domain.ports.RoadRouter`, and travel times taken from them."""
