select b.id
from quicksilver.build as b
where b.id = %(build)s and b.state = 'claimed' and b.owner = %(owner)s
for update
