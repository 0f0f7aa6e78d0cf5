"""What keeps handlers going: workers, the outbox relay and the back-off rule. Knows ports, no technology."""
