"""Long runs that look for what is lost, answered twice or left behind. See scripts/soak."""
