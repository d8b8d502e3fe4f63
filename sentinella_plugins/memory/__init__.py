"""Conversations: history recalled by `session_id`, saved after the answer, summarised when it grows long."""
