"""The console service: what people look at and decide."""
