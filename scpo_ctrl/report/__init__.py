"""What people see of a run: words, tables, pictures, the page and the terminal."""
