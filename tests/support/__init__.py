"""What several tests need: waiting for a condition, tasks that wait, and knowing what runs."""
