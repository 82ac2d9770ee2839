package acd

import "fmt"

// check holds agents and entries to their reservations.
func (d *Desk) check() error {
	for id, a := range d.agents {
		r := a.reservation
		right := map[string]bool{
			StateWaiting:  r == nil,
			StateWrapUp:   r == nil,
			StateOffering: r != nil && r.state != served,
			StateInCall:   r != nil && r.state == served,
		}
		if !right[a.state] || a.gone && len(a.members) > 0 {
			return fmt.Errorf("agent %q is %q: %w", id, a.state, errSnapshot)
		}
	}
	for id, e := range d.entries {
		if !e.consistent() {
			return fmt.Errorf("entry %q in state %d with %d reservations: %w", id, e.state, len(e.offers), errSnapshot)
		}
	}
	return nil
}

// consistent tells whether an entry's state, its reservations and its callback go together.
func (e *entry) consistent() bool {
	for _, r := range e.offers {
		if r.state != e.offers[0].state {
			return false
		}
	}
	n := len(e.offers)
	switch e.state {
	case entryWaiting:
		return n == 0
	case entryLeaving:
		return n == 0 && e.callback == nil
	case entryOffering:
		return n > 0 && e.offers[0].state == offered && e.callback == nil
	case entryClaimed, entryServed:
		return n == 1 && e.offers[0].state == e.state-1 && e.callback == nil
	}
	return e.callback != nil && (n == 0 || n == 1 && e.offers[0].state == calling && e.offers[0].fence == e.called)
}
