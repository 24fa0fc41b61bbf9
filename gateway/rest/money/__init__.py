"""What was paid: refunds, payouts, statements."""
