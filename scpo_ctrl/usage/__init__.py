"""What each command takes: light to import, so that --help, Tab and a wrong word are answered at once."""
