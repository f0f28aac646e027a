"""Pictures processed inside somebody else's stream, whose format, times, colours and other streams stay as they are."""
