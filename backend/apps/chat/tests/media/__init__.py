"""Files of messages: what comes in, is looked at, kept and served."""
