"""What differs between OpenAI and Anthropic: their clients, errors, and keys."""
