"""What a gateway and a target answer, and what they tell about themselves."""
