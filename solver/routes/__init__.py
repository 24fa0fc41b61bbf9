"""Pick-up and delivery routes: the problem and the search."""
