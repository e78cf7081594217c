select exists (
    select from quicksilver.refusal as r
    where r.lane = %(lane)s and r.at >= %(moment)s
) as is_refused
