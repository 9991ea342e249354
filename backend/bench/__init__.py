"""`make bench`: what we reach, beside a yardstick and other systems, in one run on one machine."""
