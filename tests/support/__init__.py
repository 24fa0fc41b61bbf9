"""Builders and instruments shared by tests: plain functions and small classes round the real code."""
