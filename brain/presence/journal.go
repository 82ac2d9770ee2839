package presence

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/sipio/sipio/brain/acd"
)

// Describe reads an op for people: an *Op, which encodes to JSON. OpFromJSON is the way back, exact
// for every op whose texts are valid UTF-8.
func Describe(op []byte) (any, error) {
	o := &Op{}
	if err := o.read(op); err != nil {
		return nil, err
	}
	if o.Kind == kindNames[kindACD] {
		var err error
		if o.ACD, err = acd.Describe(o.desk); err != nil {
			return nil, fmt.Errorf("read an op acd: %w", err)
		}
	}
	return o, nil
}

// OpFromJSON makes the op that Describe described. What is not an op is refused.
func OpFromJSON(text []byte) ([]byte, error) {
	var o Op
	if err := json.Unmarshal(text, &o); err != nil {
		return nil, fmt.Errorf("read an op as JSON: %w", err)
	}
	var b []byte
	switch kind := slices.Index(kindNames[:], o.Kind); {
	case kind == kindAdmit && o.Admit != nil:
		b = AppendAdmit(nil, o.Admit)
	case kind == kindSwap && o.Swap != nil:
		b = AppendSwap(nil, o.Swap)
	case kind == kindEvents:
		b = AppendEvents(nil, o.Node, o.Events)
	case kind == kindRelease:
		b = AppendRelease(nil, o.Tokens, o.Why)
	case kind == kindACD && o.ACD != nil:
		desk, err := acd.AppendOp(nil, o.ACD)
		if err != nil {
			return nil, err
		}
		b = AppendACD(nil, desk)
	case kind == kindLease:
		b = AppendLease(nil, o.Node, o.Leases)
	case kind == kindAgent:
		b = appendAgent(nil)
	case kind == kindExpire:
		b = appendExpire(nil, o.Tokens, o.Lapsed)
	case kind == kindReport:
		b = appendReport(nil, o.Node, o.Tokens, o.Adopt)
	default:
		return nil, fmt.Errorf("op %q: %w", o.Kind, errOp)
	}
	if _, err := Describe(b); err != nil {
		return nil, err
	}
	return b, nil
}
