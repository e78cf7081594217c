select key, etag from quicksilver.object
where bucket = %(bucket)s and key = any(%(keys)s)
