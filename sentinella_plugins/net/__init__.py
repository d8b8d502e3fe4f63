"""The only floor that opens connections to addresses a tenant gave us."""
