"""The shell round one market's region: its pump, its log, its restarts."""
