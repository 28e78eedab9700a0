"""What both tracks share: the loop, its parts and the report. Knows samples only as rows of a table."""
