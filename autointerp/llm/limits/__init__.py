"""When a call may be sent, and when again: limits by the minute, capacity found by trying, pauses, retries."""
