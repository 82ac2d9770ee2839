package kam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
)

// TableSet sets an entry of a shared table (module htable) to a text, for a time that is rounded up to seconds. life 0
// leaves the table's own. Kamailio 5.6 forgets the end of a text that replaces a shorter one, so it is told it again.
func (c *Client) TableSet(ctx context.Context, table, key, value string, life time.Duration) error {
	if life <= 0 {
		return c.Call(ctx, "htable.sets", []any{table, key, value}, nil)
	}
	seconds := int(math.Ceil(life.Seconds()))
	if err := c.Call(ctx, "htable.setxs", []any{table, key, value, seconds}, nil); err != nil {
		return err
	}
	return c.Call(ctx, "htable.setex", []any{table, key, seconds}, nil)
}

// TableSetInt sets an entry of a shared table to a number.
func (c *Client) TableSetInt(ctx context.Context, table, key string, value int) error {
	return c.Call(ctx, "htable.seti", []any{table, key, value}, nil)
}

// TableDelete deletes an entry of a shared table. One that is not there is well.
func (c *Client) TableDelete(ctx context.Context, table, key string) error {
	err := c.Call(ctx, "htable.delete", []any{table, key}, nil)
	if refused, ok := errors.AsType[*Error](err); ok && noEntry(refused) {
		return nil
	}
	return err
}

// TableHas reports whether a shared table has an entry.
func (c *Client) TableHas(ctx context.Context, table, key string) (bool, error) {
	err := c.Call(ctx, "htable.get", []any{table, key}, nil)
	if refused, ok := errors.AsType[*Error](err); ok && noEntry(refused) {
		return false, nil
	}
	return err == nil, err
}

// noEntry tells the refusal of a key from that of a table: delete has a code for it, get has the code of everything.
func noEntry(e *Error) bool { return e.Code == 404 || e.Message == "Key name doesn't exist in htable." }

// TableDump returns a whole shared table, numbers as text. One too large for a datagram is an error.
func (c *Client) TableDump(ctx context.Context, table string) (map[string]string, error) {
	var slots []struct {
		Slot []struct {
			Name  string          `json:"name"`
			Value json.RawMessage `json:"value"`
		} `json:"slot"`
	}
	if err := c.Call(ctx, "htable.dump", []any{table}, &slots); err != nil {
		return nil, err
	}
	entries := map[string]string{}
	for _, s := range slots {
		for _, e := range s.Slot {
			var value any
			if err := json.Unmarshal(e.Value, &value); err != nil {
				return nil, fmt.Errorf("htable.dump: %q: %w", e.Name, err)
			}
			entries[e.Name] = fmt.Sprint(value)
		}
	}
	return entries, nil
}
