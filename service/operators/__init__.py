"""What a person may ask or do, implemented once for page, API and command line."""
