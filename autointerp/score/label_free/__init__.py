"""How far trials can be answered without their label: what can be counted in them, and what learns from others."""
