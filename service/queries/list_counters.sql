select name, value from quicksilver.counter
order by name
