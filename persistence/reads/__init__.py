"""What gateways read: each method is one short query."""
