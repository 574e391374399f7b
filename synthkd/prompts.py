"""placeholder"""
PLAIN_CHAT_TEMPLATE = ""
