"""Mails: what they say, how they travel, and when they are tried again."""
