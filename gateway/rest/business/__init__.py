"""Merchants: their application and review, their documents, and who works for them."""
