"""Does what a search goes by rank layouts as training them does?"""
