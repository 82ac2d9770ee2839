package config

import (
	"bytes"
	"log/slog"

	"github.com/sipio/sipio/brain"
)

// sealNode makes of a node's secrets what is kept of them: sealed anew, as they were given sealed, or those that it had.
func (s Sealer) sealNode(before brain.Resource, r *brain.Node) []brain.RowError {
	old, _ := before.(*brain.Node)
	if old == nil {
		old = &brain.Node{ID: r.ID}
	}
	var faults []brain.RowError
	was := old.Secrets()
	for i, one := range r.Secrets() {
		faults = append(faults, s.sealOne(old, r, was[i], one)...)
	}
	return faults
}

func (s Sealer) sealOne(old, r *brain.Node, was, one brain.NodeSecret) []brain.RowError {
	given := *one.Given
	*one.Given = ""
	switch text := brain.CheckToken(given); {
	case text != "":
		return fieldFault(r, one.Field, text)
	case given == brain.NoToken:
		*one.Sealed = ""
		return nil
	case given == "" && *one.Sealed == "":
		*one.Sealed = *was.Sealed
		return nil
	case given == "":
		return s.sealedOne(r, was, one)
	case s.Seal == nil:
		return fieldFault(r, one.Field, "cannot be kept by this program")
	}
	if s.Open != nil && *was.Sealed != "" {
		if is, err := s.Open("", old.SealedAs(was), *was.Sealed); err == nil && bytes.Equal(is, []byte(given)) {
			*one.Sealed = *was.Sealed
			return nil
		}
	}
	sealed, err := s.Seal("", r.SealedAs(one), []byte(given))
	if err != nil {
		slog.Error("seal a secret", "node", r.Name, "field", one.Field, "err", err)
		return fieldFault(r, one.Field, "cannot be sealed by this brain now; its log says why")
	}
	*one.Sealed = sealed
	return nil
}

// sealedOne looks at a text that is given as what a secret was sealed to.
func (s Sealer) sealedOne(r *brain.Node, was, one brain.NodeSecret) []brain.RowError {
	if s.Open == nil || *one.Sealed == *was.Sealed {
		return nil
	}
	if _, err := s.Open("", r.SealedAs(one), *one.Sealed); err != nil {
		return fieldFault(r, one.Field, "was not sealed for this node by a key that the brain has")
	}
	return nil
}
