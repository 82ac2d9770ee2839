package actor

import (
	"fmt"

	"github.com/sipio/sipio/brain/pack"
)

// EachState reads a snapshot of a shard: whose, and the machine's own snapshot.
func EachState(data []byte, visit func(id string, state []byte) error) error {
	r := pack.NewReader(data)
	for r.Rest() > 0 {
		id, state := r.Text(), r.Bytes()
		if err := r.Err(); err != nil {
			return fmt.Errorf("journal snapshot: %w", err)
		}
		if err := visit(id, state); err != nil {
			return err
		}
	}
	return nil
}

// EachRecord reads the records of one message of a shard's journal: whose, when (epoch milliseconds), what.
func EachRecord(data []byte, visit func(id string, nowMS int64, op []byte) error) error {
	r := pack.NewReader(data)
	for r.Rest() > 0 {
		id, nowMS, op := r.Text(), r.Int(), r.Bytes()
		if err := r.Err(); err != nil {
			return fmt.Errorf("journal record: %w", err)
		}
		if err := visit(id, nowMS, op); err != nil {
			return err
		}
	}
	return nil
}

func appendRecord(b []byte, id string, nowMS int64, op []byte) []byte {
	return pack.AppendBytes(pack.AppendInt(pack.AppendText(b, id), nowMS), op)
}
