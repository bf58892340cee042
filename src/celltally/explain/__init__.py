"""Why a count is what it is: what in the image it depends on. Nothing here changes a weight."""
