"""Days of a market on a virtual clock: recorded, public or made up, and what if they had been dispatched otherwise."""
