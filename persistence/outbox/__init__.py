"""Events that wait for those they are for, and those that nobody takes."""
