"""Real servers for the tests: each is started once for a test run, or taken from the environment."""
