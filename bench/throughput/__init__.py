"""How many a second, beside the least that could be done."""
