select coalesce(max(f.holder), 0) as newest
from quicksilver.fence as f
