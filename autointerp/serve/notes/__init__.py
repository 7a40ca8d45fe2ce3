"""What people write about features, over HTTP."""
