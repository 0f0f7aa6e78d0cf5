"""The real OHIF viewer in a real browser, so that a report is judged by what people see and not by validators alone."""
