"""Readers for published data sets, which the user names a folder of; nothing is shipped."""
