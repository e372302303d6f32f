"""What several tests need: waiting for a condition, and knowing what runs."""
