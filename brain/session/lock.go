package session

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/sipio/sipio/brain/pack"
)

// A target whose PIN was given wrong this often within this time takes none for as long, from any call.
const (
	LockWrong = 5
	LockMS    = 10 * 60_000
)

// maxLocks bounds the targets remembered; beyond it the one wrong longest ago is forgotten.
const maxLocks = 4096

// Locks counts the wrong PINs of an account over all of its calls. One actor owns it.
type Locks struct {
	wrong map[string][]int64 // when, by target, rising; at most LockWrong
}

// NewLocks makes an empty one.
func NewLocks() *Locks { return &Locks{wrong: map[string][]int64{}} }

// WrongOp is the op that counts a wrong PIN of a target.
func WrongOp(target string) []byte { return pack.AppendText(nil, target) }

// Locked tells whether a target takes no PIN now.
func (l *Locks) Locked(nowMS int64, target string) bool {
	w := l.wrong[target]
	return len(w) == LockWrong && w[LockWrong-1]-w[0] < LockMS && nowMS-w[LockWrong-1] < LockMS
}

// Apply counts a wrong PIN. The op that Due gives only forgets what is too old.
func (l *Locks) Apply(nowMS int64, op []byte) (reply []byte, changed bool, err error) {
	r := pack.NewReader(op)
	target := r.Text()
	if err := r.End(); err != nil {
		return nil, false, fmt.Errorf("count a wrong PIN: %w", err)
	}
	l.forget(nowMS)
	if target == "" {
		return nil, true, nil
	}
	target = string([]byte(target))
	if len(l.wrong) >= maxLocks && l.wrong[target] == nil {
		l.forgetOldest()
	}
	w := append(l.wrong[target], nowMS)
	l.wrong[target] = w[max(0, len(w)-LockWrong):]
	return nil, true, nil
}

// forget drops the targets that were not wrong for so long that they are not locked.
func (l *Locks) forget(nowMS int64) {
	maps.DeleteFunc(l.wrong, func(_ string, w []int64) bool { return nowMS-w[len(w)-1] >= LockMS })
}

func (l *Locks) forgetOldest() {
	oldest := ""
	for _, target := range slices.Sorted(maps.Keys(l.wrong)) {
		if w := l.wrong[target]; oldest == "" || w[len(w)-1] < l.wrong[oldest][len(l.wrong[oldest])-1] {
			oldest = target
		}
	}
	delete(l.wrong, oldest)
}

// Empty tells whether nothing is counted.
func (l *Locks) Empty() bool { return len(l.wrong) == 0 }

// Deadline is when the first target can be forgotten.
func (l *Locks) Deadline() (ms int64, ok bool) {
	for _, w := range l.wrong {
		if at := w[len(w)-1] + LockMS; !ok || at < ms {
			ms, ok = at, true
		}
	}
	return ms, ok
}

// Due gives the op that forgets.
func (l *Locks) Due(nowMS int64) []byte {
	if at, ok := l.Deadline(); !ok || nowMS < at {
		return nil
	}
	return WrongOp("")
}

// AppendSnapshot appends all that is counted, in the order of the targets.
func (l *Locks) AppendSnapshot(b []byte) []byte {
	for _, target := range slices.Sorted(maps.Keys(l.wrong)) {
		b = pack.AppendText(b, target)
		b = pack.AppendUint(b, uint64(len(l.wrong[target])))
		for _, at := range l.wrong[target] {
			b = pack.AppendInt(b, at)
		}
	}
	return b
}

// RestoreLocks reads what AppendSnapshot wrote.
func RestoreLocks(snapshot []byte) (*Locks, error) {
	l := NewLocks()
	r := pack.NewReader(snapshot)
	for r.Rest() > 0 && r.Err() == nil {
		target := r.Text()
		for range r.Count(LockWrong) {
			l.wrong[target] = append(l.wrong[target], r.Int())
		}
		if r.Err() == nil && len(l.wrong[target]) == 0 {
			return nil, fmt.Errorf("snapshot of wrong PINs: %s has none", target)
		}
	}
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("snapshot of wrong PINs: %w", err)
	}
	return l, nil
}

// describedWrong is an op of Locks as people read it.
type describedWrong struct {
	Kind   string `json:"kind"`             // wrong, expire
	Target string `json:"target,omitempty"` // kind/id of what the PIN is of
}

// DescribeWrong reads an op of Locks for people: what it gives encodes to JSON. WrongOpFromJSON is the way back.
func DescribeWrong(op []byte) (any, error) {
	r := pack.NewReader(op)
	target := string([]byte(r.Text()))
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("count a wrong PIN: %w", err)
	}
	if target == "" {
		return &describedWrong{Kind: "expire"}, nil
	}
	return &describedWrong{"wrong", target}, nil
}

// WrongOpFromJSON makes the op that DescribeWrong described. What is not an op is refused.
func WrongOpFromJSON(text []byte) ([]byte, error) {
	var d describedWrong
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("read an op as JSON: %w", err)
	}
	if d.Kind != "wrong" && d.Kind != "expire" || (d.Kind == "wrong") == (d.Target == "") {
		return nil, fmt.Errorf("op %q of target %q: %w", d.Kind, d.Target, errOp)
	}
	return WrongOp(d.Target), nil
}

// Query gives when each target had a wrong PIN, epoch milliseconds, as JSON.
func (l *Locks) Query(int64, []byte) ([]byte, error) {
	return json.Marshal(map[string]any{"wrong": l.wrong})
}
