select key, dataset, dt from quicksilver.object
where dataset = %(dataset)s and (%(dt)s::date is null or dt = %(dt)s)
