"""The report of a study: its tables, its figures, and the page that holds them."""
