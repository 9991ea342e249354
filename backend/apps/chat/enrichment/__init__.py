"""What we like to know of a contact beside its messages: picture, name, a group's card.

All of it is derived and can be asked for again, so nothing here may delay or break a message. Requests wait in the
Redis lists; `asking` puts them there, `jobs` does what they ask, `facts` writes what came of it.
"""
