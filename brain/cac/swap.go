package cac

import "slices"

// Swap changes the places of a call at nowMS in one step, or nothing: Drop is given back, Add is taken, the windows
// count. Add is tested like a call's takes, against what is left after Drop, then the windows. An emergency call
// passes everything, with as many places as it may hold. An attempt that is not higher than the last one granted is a
// repetition: it changes nothing. The zero Verdict: the token has no place, its call is over. A Limit of MaxTakes
// without a Kind: the call would hold too much.
func (l *Ledger) Swap(nowMS int64, c Swap) Verdict {
	s := l.slots[c.Token]
	if s == nil {
		return Verdict{}
	}
	if c.Attempt <= s.attempt {
		return Verdict{Admitted: true, Repeated: true, Held: s.held()}
	}
	kept, gone := s.part(c.Drop)
	emergency := c.Emergency || s.emergency
	if room := MaxTakes - len(kept); len(c.Add) > room {
		if !emergency {
			return Verdict{Limit: MaxTakes, Used: len(kept)}
		}
		c.Add = c.Add[:room]
	}
	v := Verdict{Admitted: true}
	l.look(c.Add)
	if !emergency {
		if v = l.test(l.at(nowMS), c.Add, c.Windows, gone); !v.Admitted {
			return v
		}
	}
	now := l.tick(nowMS)
	added := make([]taken, len(c.Add))
	l.take(added, c.Add) // before gone is given back: a dimension that is in both stays
	for _, t := range gone {
		l.giveBack(t.dimension)
	}
	l.countAll(now, c.Windows)
	s.takes, s.attempt, s.emergency = append(kept, added...), c.Attempt, emergency
	l.Renew(s.token, now+Lease.Milliseconds())
	return v
}

// part splits the places of a call into those that stay and those that are given back.
func (s *slot) part(drop []Take) (kept, gone []taken) {
	kept = slices.Clone(s.takes)
	for _, d := range drop {
		at := slices.IndexFunc(kept, func(t taken) bool { return t.kind == d.Kind && t.id == d.ID })
		if at >= 0 {
			gone = append(gone, kept[at])
			kept = slices.Delete(kept, at, at+1)
		}
	}
	return kept, gone
}
