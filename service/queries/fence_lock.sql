select holder, is_revoked, published_build
from quicksilver.fence
where dataset = %(dataset)s and dt = %(dt)s
for update
