"""What people write about features, beside the store."""
