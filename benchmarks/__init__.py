"""The same work done by gal_friday, by the driver by hand and by other libraries, timed side by side."""
