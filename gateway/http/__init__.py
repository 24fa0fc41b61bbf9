"""Round every request: who asks, how often, in what form, and what a refusal looks like."""
