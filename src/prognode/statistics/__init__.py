"""Survival statistics as pure functions over arrays; each says which R function it equals, and a test holds it to that."""
