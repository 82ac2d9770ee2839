package presence

import (
	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/pack"
)

// AppendSwap appends the op that changes the places of a call; its reply is a verdict, see ReadVerdict.
func AppendSwap(b []byte, s *cac.Swap) []byte {
	b = pack.AppendUint(pack.AppendText(append(b, kindSwap), s.Token), uint64(s.Attempt))
	b = appendTakes(appendTakes(pack.AppendBool(b, s.Emergency), s.Drop), s.Add)
	return appendWindows(b, s.Windows)
}

func (o *Op) readSwap(r *pack.Reader) error {
	if o.Swap == nil {
		o.Swap = &cac.Swap{}
	}
	s := o.Swap
	s.Token = r.Text()
	attempt := r.Uint()
	s.Attempt, s.Emergency = int(min(attempt, cac.MaxAttempt)), r.Bool()
	s.Drop, s.Add = readTakes(r, s.Drop[:0]), readTakes(r, s.Add[:0])
	s.Windows = readWindows(r, s.Windows[:0])
	if s.Token == "" || !texts(s.Token) || attempt == 0 || attempt > cac.MaxAttempt {
		return errFields
	}
	if err := checkWindows(s.Windows); err != nil {
		return err
	}
	if err := checkTakes(s.Drop); err != nil {
		return err
	}
	return checkTakes(s.Add)
}

// swap asks the ledger to change a call's places. What else is known of the call stays as it is.
func (m *Machine) swap(nowMS int64, s *cac.Swap) (reply []byte, changed bool) {
	v := m.ledger.Swap(nowMS, *s)
	if changed = v.Admitted && !v.Repeated; changed {
		for _, w := range v.Soft {
			m.noteLimit(m.live[s.Token], nowMS, w)
		}
	}
	return appendVerdict(nil, &v), changed
}
