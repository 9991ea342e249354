"""Files of messages: kept by content, looked at before they are believed, served as downloads."""
