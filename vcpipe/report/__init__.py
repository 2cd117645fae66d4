"""Pages that show what was made, with no network and no build step."""

PAGE_REVISION = 2
SITE_REVISION = 1
STATS_REVISION = 1
